//! The command line.
//!
//! `main` calls [`run`]; each subcommand is a file. Results go to standard output, everything else to
//! standard error in one line with a remedy. Refuses what it does not understand with exit code 64.

mod args;
mod audit;
mod audit_export;
mod backup;
mod config;
mod dead_letters;
mod doctor;
mod failure;
mod graph;
mod live;
mod serve;
mod stdio;
#[cfg(test)]
mod tests;
mod token;
mod top;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

pub use args::{
    AuditCommand, BackupArgs, Cli, Command, Common, ConfigCommand, DeadLettersCommand,
    GraphCommand, RestoreArgs, StdioArgs, TokenCommand,
};
pub use failure::{Exit, Failure};

use crate::config::BASE_TOML;
use crate::serve::Role;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let environment = std::env::vars_os().collect();
    // Not locked: `serve` lasts, and its log is written to standard output by another thread.
    let result = execute(std::env::args_os(), environment, &mut std::io::stdout());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to do when standard error is closed too.
            let _ = writeln!(std::io::stderr().lock(), "{failure}");
            failure.exit.into()
        }
    }
}

/// Runs one command line; what it prints goes to `out`.
pub fn execute(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Vec<(OsString, OsString)>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, out),
    };
    match cli.command {
        Command::Serve { common } => serve::serve(common.load(environment)?, Role::Server),
        Command::Stdio(args) => stdio::stdio(&args, environment),
        Command::Worker { common } => serve::serve(common.load(environment)?, Role::Worker),
        Command::Token { command: TokenCommand::Create(request) } => {
            token::create(&request, environment, out)
        }
        Command::Config { command: ConfigCommand::Check { common } } => {
            config::check(&common, environment, out)
        }
        Command::Config { command: ConfigCommand::Explain } => print(out, BASE_TOML),
        Command::Config { command: ConfigCommand::Dump { common } } => {
            config::dump(&common, environment, out)
        }
        Command::Audit { command: AuditCommand::Verify { witness, export, common } } => {
            let config = common.load(environment)?.config;
            match export {
                Some(file) => audit_export::verify(&config, &file, out),
                None => audit::verify(&config, witness.as_deref(), out),
            }
        }
        Command::Audit { command: AuditCommand::Export(request) } => {
            audit_export::export(&request, &request.common.load(environment)?.config, out)
        }
        Command::Audit { command: AuditCommand::Erase { user, common } } => {
            audit::erase(&common.load(environment)?.config, &user, out)
        }
        Command::DeadLetters { command } => {
            dead_letters::run(&command.common().load(environment)?.config, &command, out)
        }
        Command::Top(args) => top::top(&args, args.common.load(environment)?.config, out),
        Command::Doctor { common } => doctor::doctor(&common.load(environment)?.config.cell, out),
        Command::Backup(args) => backup::backup(&args.common.load(environment)?.config, &args, out),
        Command::Restore(args) => {
            backup::restore(&args.common.load(environment)?.config, &args, out)
        }
        Command::Graph { command: GraphCommand::Export { file, common } } => {
            graph::export(&common.load(environment)?.config, &file, out)
        }
        Command::Graph { command: GraphCommand::Import { file, common } } => {
            graph::import(&common.load(environment)?.config, &file, out)
        }
    }
}

/// `--help` and `--version` are results; everything else clap says is a mistake in the usage.
fn usage(error: &clap::Error, out: &mut dyn Write) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(out, &error.to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::new(Exit::Usage, "a subcommand is missing; see --help"))
        }
        _ => Err(Failure::new(Exit::Usage, one_line(&error.to_string()))),
    }
}

/// clap's message and tip without the usage it repeats.
fn one_line(text: &str) -> String {
    let words = text.lines().map(str::trim);
    let said =
        words.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let said: Vec<&str> = said.filter(|line| !line.is_empty()).collect();
    format!("{}; see --help", said.join(" ").trim_start_matches("error: "))
}

/// Writes a result. A reader that went away (`| head`) is not an error.
fn print(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
