//! What init tells the launcher over their own socket; the payload has no way to it.

use crate::wire::Malformed;
use crate::wire::codec::{Decoder, Encoder};
use crate::wire::message::Exit;

const READY: u8 = 1;
const EXITED: u8 = 2;
const FAILED: u8 = 3;

/// One message of init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The payload has been forked; the working directory is attached.
    Ready,
    /// The payload's first process ended by itself.
    Exited { exit: Exit, compiled: bool },
    /// The payload never started.
    Failed { stage: u8, errno: i32 },
}

impl Report {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Encoder::default();
        match self {
            Self::Ready => out.u8(READY),
            Self::Exited { exit, compiled } => {
                let (signalled, value) = match exit {
                    Exit::Signal(signal) => (1, signal),
                    Exit::Code(code) => (0, code),
                    Exit::Unknown | Exit::Setup { .. } => (0, -1),
                };
                out.u8(EXITED).u8(signalled).u32(value.cast_unsigned()).u8(u8::from(compiled))
            }
            Self::Failed { stage, errno } => out.u8(FAILED).u8(stage).u32(errno.cast_unsigned()),
        };
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Decoder::new(bytes);
        let report = match input.u8()? {
            READY => Self::Ready,
            EXITED => {
                let signalled = input.bool()?;
                let value = input.u32()?.cast_signed();
                let exit = if signalled { Exit::Signal(value) } else { Exit::Code(value) };
                Self::Exited { exit, compiled: input.bool()? }
            }
            FAILED => Self::Failed { stage: input.u8()?, errno: input.u32()?.cast_signed() },
            _ => return Err(Malformed("init said something unknown")),
        };
        input.end()?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_says_is_what_the_launcher_hears() {
        let reports = [
            Report::Ready,
            Report::Exited { exit: Exit::Code(3), compiled: false },
            Report::Exited { exit: Exit::Signal(9), compiled: true },
            Report::Failed { stage: 4, errno: 28 },
        ];
        for report in reports {
            assert_eq!(Report::decode(&report.encode()), Ok(report));
        }
        assert!(Report::decode(&[]).is_err());
        assert!(Report::decode(&[9]).is_err());
    }
}
