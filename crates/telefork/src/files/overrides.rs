//! What is wished of single descriptors: `3=drop`, `4=reopen`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use sys::Pid;
use wire::image::descriptor::{Content, Descriptor, Opened};

use crate::Error;

/// What is to become of a descriptor instead of what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// It is closed at the destination.
    Drop,
    /// Whatever the destination has under its path is opened, with the same offset and flags.
    Reopen,
}

/// Wishes by the number of their descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<u32, Override>);

impl Overrides {
    pub fn none() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with(mut self, number: u32, wish: Override) -> Self {
        self.0.insert(number, wish);
        self
    }

    pub fn of(&self, number: u32) -> Option<Override> {
        self.0.get(&number).copied()
    }

    /// Descriptors as they are wished.
    pub fn apply(&self, descriptors: &[Descriptor]) -> Result<Vec<Descriptor>, Error> {
        let mut kept = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors {
            let mut descriptor = descriptor.clone();
            match (self.of(descriptor.number), &mut descriptor.what) {
                (Some(Override::Drop), _) => continue,
                (Some(Override::Reopen), Opened::File(file)) => file.content = Content::There,
                (Some(Override::Reopen), Opened::Folder { .. }) | (None, _) => {}
                (Some(Override::Reopen), _) => {
                    let (number, name) = (descriptor.number, String::from("it has no path"));
                    return Err(Error::NotReopened { number, name });
                }
            }
            kept.push(descriptor);
        }
        Ok(kept)
    }

    /// A wish about what is not there is a mistake.
    pub(crate) fn check(&self, pid: Pid, there: &BTreeSet<u32>) -> Result<(), Error> {
        match self.0.keys().find(|number| !there.contains(number)) {
            Some(&number) => Err(Error::NoDescriptor { pid: pid.0, number }),
            None => Ok(()),
        }
    }
}

impl FromIterator<(u32, Override)> for Overrides {
    fn from_iter<I: IntoIterator<Item = (u32, Override)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl FromStr for Override {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "drop" => Ok(Self::Drop),
            "reopen" => Ok(Self::Reopen),
            _ => Err("a descriptor can be wished to be `drop` or `reopen`"),
        }
    }
}
