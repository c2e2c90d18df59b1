//! Every error names place, cause and remedy.
