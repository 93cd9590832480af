//! Standard input and output as bounded channels of lines.
//!
//! Both are read and written by threads of their own: a blocked pipe must not hold up an actor, and a read
//! that nobody ends must not keep the process from ending.

use std::io::{self, BufRead, Read, Write};
use std::thread;
use std::time::Duration;

use actix_web::web::Bytes;
use tokio::sync::{mpsc, oneshot};

/// Lines that wait on their way in, and out; beyond it the pipe waits.
const WAITING_MAX: usize = 16;
/// Longest wait for a reader of standard output at the end.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Text, without its end.
    Message(String),
    /// More than this many bytes; passed over.
    TooLong(usize),
    /// No UTF-8.
    NotText,
}

/// Both directions.
pub struct Lines {
    /// What comes in; ends with the input.
    pub input: mpsc::Receiver<Line>,
    /// What goes out, a message each.
    pub output: mpsc::Sender<Bytes>,
    written: oneshot::Receiver<()>,
}

impl Lines {
    /// Those of this process; a line has at most `bytes_max` bytes.
    pub fn of_this_process(bytes_max: usize) -> Self {
        let (lines, input) = mpsc::channel(WAITING_MAX);
        let (output, messages) = mpsc::channel(WAITING_MAX);
        let (done, written) = oneshot::channel();
        thread::spawn(move || read(&mut io::stdin().lock(), bytes_max, &lines));
        thread::spawn(move || {
            write(&mut io::stdout().lock(), messages);
            let _ = done.send(());
        });
        Self { input, output, written }
    }

    /// Waits until all is written, or nobody reads it.
    pub async fn finish(self) {
        let Self { output, written, .. } = self;
        drop(output);
        let _ = tokio::time::timeout(FLUSH_MAX, written).await;
    }
}

/// Until the end of the input, or of whoever takes its lines.
fn read(input: &mut impl BufRead, bytes_max: usize, lines: &mpsc::Sender<Line>) {
    loop {
        let mut line = Vec::new();
        // One more than allowed for the text, one for its end.
        let limit = bytes_max as u64 + 2;
        match input.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.last() == Some(&b'\n');
        let text = line.trim_ascii();
        if text.is_empty() && whole {
            continue;
        }
        let line = match std::str::from_utf8(text) {
            _ if text.len() > bytes_max => Line::TooLong(bytes_max),
            Ok(text) => Line::Message(text.to_owned()),
            Err(_) => Line::NotText,
        };
        let too_long = matches!(line, Line::TooLong(_));
        if lines.blocking_send(line).is_err() {
            return;
        }
        if too_long && !whole && input.skip_until(b'\n').is_err() {
            return;
        }
    }
}

/// Until nobody has more to say, or nobody reads.
fn write(output: &mut impl Write, mut messages: mpsc::Receiver<Bytes>) {
    while let Some(message) = messages.blocking_recv() {
        // A line end outside of strings is white space in JSON, and would end the message.
        let mut line: Vec<u8> =
            message.iter().copied().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
        line.push(b'\n');
        if output.write_all(&line).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Line> {
        let (sender, mut lines) = mpsc::channel(64);
        read(&mut io::BufReader::with_capacity(3, input), 8, &sender);
        drop(sender);
        std::iter::from_fn(|| lines.blocking_recv()).collect()
    }

    #[test]
    fn a_line_is_a_message_whatever_its_end() {
        let text = |text: &str| Line::Message(text.to_owned());
        assert_eq!(
            lines(b"{}\n\r\n \n[1]\r\n{\"a\":1}"),
            [text("{}"), text("[1]"), text("{\"a\":1}")]
        );
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn what_is_no_message_is_passed_over_and_nothing_after_it() {
        let after = || Line::Message("after".to_owned());
        let mut long = vec![b'x'; 1000];
        long.extend(b"\nafter\n");
        assert_eq!(lines(&long), [Line::TooLong(8), after()]);
        assert_eq!(lines(b"123456789\nafter"), [Line::TooLong(8), after()]);
        assert_eq!(lines(b"12345678\nafter"), [Line::Message("12345678".into()), after()]);
        assert_eq!(lines(b"\xff\xfe\nafter\n"), [Line::NotText, after()]);
    }

    #[test]
    fn a_message_is_written_as_one_line() {
        let (sender, messages) = mpsc::channel(4);
        sender.blocking_send(Bytes::from_static(b"{\n\"a\":\r\n1}")).unwrap();
        sender.blocking_send(Bytes::from_static(b"{}")).unwrap();
        drop(sender);
        let mut out = Vec::new();
        write(&mut out, messages);
        assert_eq!(out, b"{\"a\":1}\n{}\n");
    }
}
