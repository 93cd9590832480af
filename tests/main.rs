//! One integration binary: the tree itself, and the real server driven as its users drive it.

#[path = "it/app.rs"]
mod app;
#[path = "it/cli.rs"]
mod cli;
#[path = "it/tidy.rs"]
mod tidy;
#[path = "it/tools.rs"]
mod tools;
