//! `top`: tree, breakers, queues, limits and runs of a running server, in the terminal or once as text.
//!
//! Speaks REST like any other client, with the token that is given or one made from the keys of the data
//! directory. Refuses nothing itself: what the token may not do, the server says.

mod tables;
mod view;

use std::io::Write;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use self::tables::Answers;
use self::view::{Step, View, draw};
use super::args::TopArgs;
use super::live::LiveServer;
use super::{Exit, Failure, print};
use crate::config::Config;

/// Between two looks.
const REFRESH: Duration = Duration::from_secs(1);
/// For one answer: a server that takes longer is shown as away.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// What is asked in one round; the last part of the path names the answer.
const PATHS: [&str; 6] = [
    "/ready",
    "/api/v1/supervision",
    "/api/v1/breakers",
    "/api/v1/queues",
    "/api/v1/limits",
    "/api/v1/jobs?all=true&state=running&limit=50",
];

/// The server that is looked at.
struct Server {
    client: reqwest::Client,
    url: String,
    /// `None` = made anew from the keys for every round: such tokens are short-lived.
    token: Option<SecretString>,
    config: Config,
}

/// Shows a server until `q`, or once.
pub(super) fn top(args: &TopArgs, config: Config, out: &mut dyn Write) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    let server = Server::new(args, config)?;
    if args.once {
        let answers = runtime.block_on(server.look())?;
        let tables: Vec<String> = answers.tables().iter().map(tables::Table::text).collect();
        return print(out, &format!("{}\n\n{}", answers.headline(), tables.join("\n")));
    }
    let unusable = |error: std::io::Error| {
        Failure::new(Exit::Io, format!("the terminal cannot be used: {error}; try --once"))
    };
    let mut terminal = ratatui::try_init().map_err(unusable)?;
    let ended = watch(&runtime, &server, &mut terminal).map_err(unusable);
    ratatui::restore();
    ended
}

/// Looks, draws, waits for a key; a second at most for each round.
fn watch(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    terminal: &mut ratatui::DefaultTerminal,
) -> std::io::Result<()> {
    let mut view = View::default();
    loop {
        match runtime.block_on(server.look()) {
            Ok(answers) => view.answers = answers,
            Err(failure) => view.notice = Some(failure.messages.join("; ")),
        }
        let next = std::time::Instant::now() + REFRESH;
        loop {
            terminal.draw(|frame| draw(frame, &view))?;
            let left = next.saturating_duration_since(std::time::Instant::now());
            if !event::poll(left)? {
                break;
            }
            let Event::Key(key) = event::read()? else { continue };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            view.notice = None;
            match view.key(key.code) {
                Step::Stay => {}
                Step::Quit => return Ok(()),
                Step::Do(order) => {
                    let done = runtime.block_on(server.ask(true, &order.path));
                    view.notice = Some(match done {
                        Ok(_) => format!("done: {}", order.words),
                        Err(failure) => failure.messages.join("; "),
                    });
                    break;
                }
            }
        }
    }
}

impl Server {
    fn new(args: &TopArgs, config: Config) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build();
        let client = client.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        let url = match &args.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => LiveServer::address(&config)?,
        };
        let token = args.token.clone().map(SecretString::from);
        Ok(Self { client, url, token, config })
    }

    /// One round.
    async fn look(&self) -> Result<Answers, Failure> {
        let mut answers = Answers::default();
        for path in PATHS {
            let name = path.split('?').next().and_then(|path| path.rsplit('/').next());
            answers.0.insert(name.unwrap_or(path).to_owned(), self.ask(false, path).await?);
        }
        Ok(answers)
    }

    async fn ask(&self, order: bool, path: &str) -> Result<Value, Failure> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => LiveServer::token(&self.config)?,
        };
        let url = format!("{}{path}", self.url);
        let request = if order { self.client.post(url) } else { self.client.get(url) };
        let unavailable = |what: String| {
            Failure::new(Exit::Unavailable, format!("the server at {}: {what}", self.url))
        };
        let answer = request.bearer_auth(token.expose_secret()).send().await.map_err(|error| {
            let why = if error.is_timeout() { "it does not answer" } else { "it is away" };
            unavailable(format!("{why} ({})", error.without_url()))
        })?;
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        // A node that cannot serve still says why.
        if status.is_success() || body["dependencies"].is_array() {
            return Ok(body);
        }
        let said = body["error"]["message"].as_str().unwrap_or("it did not say why").to_owned();
        Err(unavailable(format!("{path}: {}: {said}", status.as_u16())))
    }
}
