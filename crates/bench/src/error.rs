//! Why a figure could not be measured.

use std::io;

/// A measurement that did not happen, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} cannot be measured here: {why}")]
    Absent { what: &'static str, why: String },
    #[error("cannot {action}")]
    Kernel { action: &'static str, source: io::Error },
    #[error("TLS refused to {action}")]
    Tls { action: &'static str, source: rustls::Error },
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("{who} does not do what is asked")]
    Peer { who: &'static str, source: io::Error },
    #[error("{who} ended or answered nonsense: {answer:?}")]
    Answer { who: &'static str, answer: String },
    #[error("{what} failed: {source}")]
    Ours { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl Error {
    /// Nothing is wrong with the subject, it is only not here: its figures are left out.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    pub(crate) fn kernel(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { action, source }
    }
}
