//! A killed study ends with the same bits.
