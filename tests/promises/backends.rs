//! Both backends keep the trainer's contract.
