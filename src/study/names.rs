//! Names of a registry as a study writes them: one, or several in their order.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Everything that fits, in a study's words.
pub const ALL: &str = "all";

/// `"mlp"`, `"mlp, logistic"`, `["mlp", "logistic"]` or `"all"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    /// Whether everything that fits is meant.
    pub fn is_all(&self) -> bool {
        matches!(&self.0[..], [name] if name == ALL)
    }
}

impl From<&str> for Names {
    fn from(text: &str) -> Names {
        Names(text.split(',').map(|name| name.trim().to_owned()).collect())
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [name] => name.serialize(serializer),
            names => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a list of names")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Names, E> {
                Ok(Names::from(text))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    names.push(name);
                }
                if names.is_empty() {
                    return Err(A::Error::invalid_value(Unexpected::Other("an empty list"), &self));
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(List)
    }
}
