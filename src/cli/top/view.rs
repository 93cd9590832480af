//! The terminal view: what is shown and what a key means. Talks to nobody.
//!
//! Owns: the tab, the selected row, the order that waits for a yes. [`draw`] is a function of the state,
//! [`View::key`] one step of it; both are tested without a terminal.

use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Block, Paragraph, Row, Table as Grid, TableState, Tabs};

use super::tables::Answers;

const TREE: usize = 0;
const BREAKERS: usize = 1;
const TABS: [&str; 5] = ["tree", "breakers", "queues", "limits", "runs"];
const HELP: &str =
    "q quit  tab/←/→ table  ↑/↓ row  r restart child  o/c/x open/close/reset breaker";

/// Something to be done on the server, once it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// In words.
    pub(super) words: String,
    /// Where it is posted.
    pub(super) path: String,
}

/// What a key asks of the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Quit,
    Do(Order),
}

/// What is shown.
#[derive(Default)]
pub(super) struct View {
    /// The last answers that came.
    pub(super) answers: Answers,
    /// What went wrong or was done last.
    pub(super) notice: Option<String>,
    tab: usize,
    row: usize,
    waiting: Option<Order>,
}

impl View {
    /// One key.
    pub(super) fn key(&mut self, key: KeyCode) -> Step {
        if let Some(order) = self.waiting.take() {
            return if key == KeyCode::Char('y') { Step::Do(order) } else { Step::Stay };
        }
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(TABS.len() - 1),
            KeyCode::Down => self.row = (self.row + 1).min(self.rows().saturating_sub(1)),
            KeyCode::Up => self.row = self.row.saturating_sub(1),
            KeyCode::Char('r') if self.tab == TREE => self.ask("restart", "supervision"),
            KeyCode::Char('o') if self.tab == BREAKERS => self.ask("open", "breakers"),
            KeyCode::Char('c') if self.tab == BREAKERS => self.ask("close", "breakers"),
            KeyCode::Char('x') if self.tab == BREAKERS => self.ask("reset", "breakers"),
            _ => {}
        }
        Step::Stay
    }

    fn turn(&mut self, by: usize) {
        self.tab = (self.tab + by) % TABS.len();
        self.row = 0;
    }

    fn rows(&self) -> usize {
        self.answers.tables()[self.tab].rows.len()
    }

    /// Nothing is done before a yes.
    fn ask(&mut self, verb: &str, of: &str) {
        let tables = self.answers.tables();
        let Some(name) = tables[self.tab].rows.get(self.row).and_then(|row| row.first()) else {
            return;
        };
        let words = format!("{verb} {name}");
        self.waiting = Some(Order { words, path: format!("/api/v1/{of}/{name}/{verb}") });
    }
}

/// Draws the state.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows =
        [Constraint::Length(1), Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)];
    let [head, tabs, body, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(view.answers.headline()), head);
    frame.render_widget(Tabs::new(TABS).select(view.tab), tabs);
    let table = view.answers.tables().swap_remove(view.tab);
    let widths = table
        .widths()
        .into_iter()
        .map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    let (bold, chosen) = (Modifier::BOLD, Modifier::REVERSED);
    let grid = Grid::new(table.rows.into_iter().map(Row::new), widths.collect::<Vec<_>>())
        .header(Row::new(table.head).style(Style::new().add_modifier(bold)))
        .row_highlight_style(Style::new().add_modifier(chosen))
        .column_spacing(2)
        .block(Block::bordered().title(table.title));
    let mut selected = TableState::default().with_selected(Some(view.row));
    frame.render_stateful_widget(grid, body, &mut selected);
    let said = match (&view.waiting, &view.notice) {
        (Some(order), _) => format!("{}? y = yes, any other key = no", order.words),
        (None, Some(notice)) => notice.clone(),
        (None, None) => HELP.to_owned(),
    };
    frame.render_widget(Paragraph::new(said), foot);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn view() -> View {
        let mut view = View::default();
        let answers = json!({
            "ready": { "node": "n-1", "status": "degraded",
                "dependencies": [{ "name": "redis", "status": "degraded" }] },
            "supervision": { "children": [
                { "name": "cache", "state": "running", "restarts": 3,
                    "mailbox": { "in_flight": 1, "capacity": 64 } },
                { "name": "graph", "state": "restarting",
                    "last_failure": { "text": "bad\u{1b}[2Jluck" } },
            ] },
            "breakers": { "breakers": [
                { "name": "redis", "in_flight": 0, "breaker": { "state": "open", "failed": 5, "calls": 9 } },
            ] },
        });
        view.answers.0 = answers.as_object().cloned().unwrap();
        view
    }

    fn screen(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 12)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_tree_is_shown_first_and_tab_turns_to_the_breakers() {
        let mut view = view();
        let tree = screen(&view);
        for word in ["n-1 degraded (redis)", "cache", "running", "1/64", "restarting", "q quit"] {
            assert!(tree.contains(word), "{word}\n{tree}");
        }
        assert!(!tree.contains('\u{1b}'), "a failure's text steers no terminal");
        assert_eq!(view.key(KeyCode::Tab), Step::Stay);
        let breakers = screen(&view);
        assert!(breakers.contains("open") && breakers.contains("5/9"), "{breakers}");
    }

    #[test]
    fn nothing_is_done_before_a_yes() {
        let mut view = view();
        assert_eq!(view.key(KeyCode::Down), Step::Stay);
        assert_eq!(view.key(KeyCode::Char('r')), Step::Stay);
        assert!(screen(&view).contains("restart graph? y = yes"), "{}", screen(&view));
        assert_eq!(view.key(KeyCode::Char('n')), Step::Stay);
        assert_eq!(view.key(KeyCode::Char('y')), Step::Stay, "the question is gone");
        view.key(KeyCode::Char('r'));
        let Step::Do(order) = view.key(KeyCode::Char('y')) else { panic!("not done") };
        assert_eq!(order.path, "/api/v1/supervision/graph/restart");
        view.key(KeyCode::Tab);
        view.key(KeyCode::Char('x'));
        let Step::Do(order) = view.key(KeyCode::Char('y')) else { panic!("not done") };
        assert_eq!(order.path, "/api/v1/breakers/redis/reset");
        assert_eq!(view.key(KeyCode::Char('q')), Step::Quit);
    }

    #[test]
    fn a_server_that_is_away_is_said_and_the_last_picture_stays() {
        let mut view = view();
        view.notice = Some("the server at http://x is away".to_owned());
        let shown = screen(&view);
        assert!(shown.contains("is away") && shown.contains("cache"), "{shown}");
        let empty = screen(&View { notice: view.notice, ..View::default() });
        assert!(empty.contains("is away"), "{empty}");
    }
}
