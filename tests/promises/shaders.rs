//! Every shader translates for every platform.
