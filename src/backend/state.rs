//! A lane's state as bytes that outlive their process: sealed, so that what is damaged, or of another kind, is never trained on.

use crate::base::hash::Hasher;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Of a trainer's states: the layout of this file, which trainer, which model and fold, and units of budget that it has had.
pub(crate) fn kind(trainer: &str, model: &str, fold: usize, had: u64) -> u64 {
    /// Of the layout of any model's state; states of another one are not read.
    const LAYOUT: u64 = 1;
    let mut hash = Hasher::default();
    hash.word(LAYOUT);
    hash.text(trainer);
    hash.text(model);
    hash.word(fold as u64);
    hash.word(had);
    hash.finish()
}

/// A state behind its kind and the checksum of both.
pub(crate) fn seal(kind: u64, state: &[u8]) -> Vec<u8> {
    let kind = kind.to_le_bytes();
    let sum = crc32c::crc32c_append(crc32c::crc32c(&kind), state);
    [&sum.to_le_bytes()[..], &kind, state].concat()
}

/// The state in bytes that [`seal`] made of this kind; nothing of any others.
pub(crate) fn unseal(kind: u64, bytes: &[u8]) -> Option<&[u8]> {
    let (sum, body) = bytes.split_first_chunk::<4>()?;
    let state = body.strip_prefix(&kind.to_le_bytes())?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*sum)).then_some(state)
}

/// What a model keeps of a lane, as bytes: floats to the last bit.
pub fn encode<T: Serialize>(state: &T) -> Option<Vec<u8>> {
    postcard::to_stdvec(state).ok()
}

/// The same from bytes, which may be anything.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (state, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_whole_and_of_its_kind_or_not_at_all() {
        let of = |fold, had| kind("cpu", "mlp", fold, had);
        let state = encode(&(7u64, vec![0.5f32, f32::NAN])).unwrap();
        let sealed = seal(of(1, 9), &state);
        assert_eq!(unseal(of(1, 9), &sealed), Some(&state[..]));
        for other in [of(0, 9), of(1, 3), kind("gpu", "mlp", 1, 9), kind("cpu", "svm", 1, 9)] {
            assert_eq!(unseal(other, &sealed), None);
        }
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 4;
            assert_eq!(unseal(of(1, 9), &flipped), None, "byte {at}");
            assert_eq!(unseal(of(1, 9), &sealed[..at]), None, "cut at {at}");
        }
        assert!(decode::<(u64, Vec<f32>)>(&state).is_some());
        assert!(decode::<(u64, Vec<f32>)>(&[&state[..], &[0]].concat()).is_none(), "more than a state");
        assert!(decode::<(u64, Vec<f32>)>(&[7, 255, 255, 255, 255, 15]).is_none(), "a length without values");
    }
}
