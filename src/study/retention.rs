//! What a study keeps of its candidates: all of them, or the best.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retention {
    /// Every candidate.
    #[default]
    All,
    /// So many of the best, and how the values of all are distributed.
    Best(u32),
}

const ALL: &str = "all";
const BEST: &str = "best:";

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retention::All => f.write_str(ALL),
            Retention::Best(count) => write!(f, "{BEST}{count}"),
        }
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Retention, String> {
        let best = text.strip_prefix(BEST).and_then(|count| count.trim().replace('_', "").parse().ok());
        match (text, best) {
            (ALL, _) => Ok(Retention::All),
            (_, Some(count)) if (1..=1_000_000).contains(&count) => Ok(Retention::Best(count)),
            _ => Err(format!("\"{text}\" is not \"all\", nor \"best:N\" with N from 1 to 1,000,000")),
        }
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Retention, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
