//! Layer 5: what people see of a study. Events and results in, text out; only the progress display writes anywhere, and
//! nothing here changes a study.

pub mod bench;
pub mod chart;
pub mod explain;
pub mod predictions;
pub mod progress;
pub mod style;
pub mod summary;
pub mod table;
pub mod text;
