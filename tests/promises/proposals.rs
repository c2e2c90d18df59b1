//! Strategies propose what they say.
