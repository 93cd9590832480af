//! The cell as its users see it: real launchers, real runs. One binary, one module per promise.

mod happy;
mod harness;
