//! Layer 4: a study, from its file to its result, and the only loop.
