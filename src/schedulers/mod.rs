//! Layer 3: schedulers, which say how much budget a trial gets.
