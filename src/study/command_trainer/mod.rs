//! Programs as trainers: a lane is one run of the study's command with a candidate's values.
//!
//! A program that has come to the budget of its rung is suspended where it stands, and goes on when it is promoted. One that
//! has ended there by itself, or was not kept, is started again with the higher budget and the same checkpoint directory. All
//! runs of a call are watched by one thread: the one that called.

#[cfg_attr(not(unix), allow(dead_code))]
mod checkpoints;
#[cfg(unix)]
mod course;
#[cfg(unix)]
mod keeper;
#[cfg(unix)]
mod launch;
#[cfg(unix)]
mod leftovers;
#[cfg(unix)]
mod memory;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod protocol;
#[cfg(unix)]
mod trainer;

pub(in crate::study) use checkpoints::Checkpoints;
#[cfg(unix)]
pub(in crate::study) use trainer::CommandTrainer;
