//! Paths in JSON: a string where they are text, else their bytes in a list. A file may have any name.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl Written {
    fn of(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }

    fn path(self) -> PathBuf {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    Written::of(path).serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Written::deserialize(from).map(Written::path)
}

pub(super) mod or_none {
    use super::{Deserialize, Deserializer, PathBuf, Serialize, Serializer, Written};

    pub(in super::super) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_deref().map(Written::of).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Written>::deserialize(from)?.map(Written::path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::order::Known;

    #[test]
    fn a_path_that_is_no_text_is_read_as_it_was() {
        for name in [&b"plain"[..], b"no \xff text", b""] {
            let path = PathBuf::from(OsString::from_vec(name.to_vec()));
            let known = Known { path, bytes: 1, modified: 2 };
            let json = serde_json::to_string(&known).expect("any path can be written");
            assert_eq!(serde_json::from_str::<Known>(&json).expect("and read"), known, "{json}");
        }
    }
}
