//! Other people's task systems, each in a package of its own that is built when it is wanted.

pub mod tonic;
