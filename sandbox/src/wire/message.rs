//! The messages themselves. [`Request`] goes to the launcher, [`Event`] comes from it.

use super::codec::{Decoder, Encoder};
use super::{Malformed, VERSION};

const MAGIC: u16 = 0x4355; // "UC"
const HELLO: u8 = 1;
const RUN: u8 = 2;
const KILL: u8 = 3;
const STEP_BEGIN: u8 = 4;
const STEP_END: u8 = 5;
const INTERRUPT: u8 = 6;
const READY: u8 = 65;
const STARTED: u8 = 66;
const FINISHED: u8 = 67;
const REFUSED: u8 = 68;
const STEP_ENDED: u8 = 69;

/// Server → launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// First message: the launcher's options as JSON.
    Hello { options: Vec<u8> },
    /// Run what the attached memory file describes; the second descriptor is standard input.
    Run { id: u64 },
    /// End the run now.
    Kill { id: u64 },
    /// A step of a sandbox begins: its full processor share until the step ends, an interrupt when
    /// `wall_ns` have passed, a kill when `grace_ns` more have.
    StepBegin { id: u64, step: u32, wall_ns: u64, grace_ns: u64 },
    /// The step has ended; between steps only `rest_milli` of a processor is left.
    StepEnd { id: u64, step: u32, rest_milli: u32 },
    /// Interrupt the step in hand now, as if its time were up.
    Interrupt { id: u64 },
}

/// Launcher → server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Answer to `Hello`: capabilities as JSON.
    Ready { capabilities: Vec<u8> },
    /// The payload runs. Descriptors: stdout, stderr (read ends), the working directory; for a sandbox
    /// that stays also where requests are written and where replies are read.
    Started { id: u64 },
    /// The whole tree is dead.
    Finished { id: u64, outcome: Outcome },
    /// Nothing was run.
    Refused { id: u64, refusal: Refusal, message: String },
    /// The account of a step, after `StepEnd`.
    StepEnded { id: u64, step: u32, usage: Usage },
}

/// What the control groups say of a sandbox at the end of a step; totals of its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The launcher interrupted the step.
    pub(crate) interrupted: bool,
    pub(crate) cpu_ns: u64,
    /// `u64::MAX` when the host cannot tell.
    pub(crate) memory_peak: u64,
    pub(crate) oom_kills: u32,
    pub(crate) pids_hits: u32,
}

/// Why nothing was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Refusal {
    Busy = 0,
    Isolation = 1,
    Invalid = 2,
}

/// How the payload's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The tree was killed before it could say.
    Unknown,
    Code(i32),
    Signal(i32),
    /// It never started: stage and error number.
    Setup {
        stage: u8,
        errno: i32,
    },
}

/// Why the launcher killed the tree, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KillCause {
    None = 0,
    Wall = 1,
    Cpu = 2,
    Memory = 3,
    Asked = 4,
    /// A step went on after its interrupt.
    Step = 5,
}

/// What the supervisor saw of a finished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) killed: KillCause,
    /// Whether the source compiled (true when the run gives no such signal).
    pub(crate) compiled: bool,
    /// Processes the kernel killed for memory.
    pub(crate) oom_kills: u32,
    /// Forks refused by the process limit.
    pub(crate) pids_hits: u32,
    pub(crate) cpu_ns: u64,
    /// `u64::MAX` when the host cannot tell.
    pub(crate) memory_peak: u64,
    pub(crate) duration_ns: u64,
}

fn start(kind: u8) -> Encoder {
    let mut out = Encoder::default();
    out.u16(MAGIC).u16(VERSION).u8(kind);
    out
}

fn open(bytes: &[u8]) -> Result<(u8, Decoder<'_>), Malformed> {
    let mut input = Decoder::new(bytes);
    if input.u16()? != MAGIC {
        return Err(Malformed("it does not start like one"));
    }
    if input.u16()? != VERSION {
        return Err(Malformed("its version differs"));
    }
    Ok((input.u8()?, input))
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { options } => {
                let mut out = start(HELLO);
                out.bytes(options);
                out.finish()
            }
            Self::Run { id } => {
                let mut out = start(RUN);
                out.u64(*id);
                out.finish()
            }
            Self::Kill { id } => {
                let mut out = start(KILL);
                out.u64(*id);
                out.finish()
            }
            Self::StepBegin { id, step, wall_ns, grace_ns } => {
                let mut out = start(STEP_BEGIN);
                out.u64(*id).u32(*step).u64(*wall_ns).u64(*grace_ns);
                out.finish()
            }
            Self::StepEnd { id, step, rest_milli } => {
                let mut out = start(STEP_END);
                out.u64(*id).u32(*step).u32(*rest_milli);
                out.finish()
            }
            Self::Interrupt { id } => {
                let mut out = start(INTERRUPT);
                out.u64(*id);
                out.finish()
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, mut input) = open(bytes)?;
        let request = match kind {
            HELLO => Self::Hello { options: input.bytes()?.to_vec() },
            RUN => Self::Run { id: input.u64()? },
            KILL => Self::Kill { id: input.u64()? },
            STEP_BEGIN => Self::StepBegin {
                id: input.u64()?,
                step: input.u32()?,
                wall_ns: input.u64()?,
                grace_ns: input.u64()?,
            },
            STEP_END => {
                Self::StepEnd { id: input.u64()?, step: input.u32()?, rest_milli: input.u32()? }
            }
            INTERRUPT => Self::Interrupt { id: input.u64()? },
            _ => return Err(Malformed("its kind is unknown")),
        };
        input.end()?;
        Ok(request)
    }
}

impl Event {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready { capabilities } => {
                let mut out = start(READY);
                out.bytes(capabilities);
                out.finish()
            }
            Self::Started { id } => {
                let mut out = start(STARTED);
                out.u64(*id);
                out.finish()
            }
            Self::Finished { id, outcome } => {
                let mut out = start(FINISHED);
                out.u64(*id);
                outcome.encode(&mut out);
                out.finish()
            }
            Self::Refused { id, refusal, message } => {
                let mut out = start(REFUSED);
                out.u64(*id).u8(*refusal as u8).bytes(message.as_bytes());
                out.finish()
            }
            Self::StepEnded { id, step, usage } => {
                let mut out = start(STEP_ENDED);
                out.u64(*id).u32(*step);
                usage.encode(&mut out);
                out.finish()
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, mut input) = open(bytes)?;
        let event = match kind {
            READY => Self::Ready { capabilities: input.bytes()?.to_vec() },
            STARTED => Self::Started { id: input.u64()? },
            FINISHED => Self::Finished { id: input.u64()?, outcome: Outcome::decode(&mut input)? },
            REFUSED => {
                let id = input.u64()?;
                let refusal = match input.u8()? {
                    0 => Refusal::Busy,
                    1 => Refusal::Isolation,
                    2 => Refusal::Invalid,
                    _ => return Err(Malformed("its refusal is unknown")),
                };
                Self::Refused { id, refusal, message: input.text()? }
            }
            STEP_ENDED => Self::StepEnded {
                id: input.u64()?,
                step: input.u32()?,
                usage: Usage::decode(&mut input)?,
            },
            _ => return Err(Malformed("its kind is unknown")),
        };
        input.end()?;
        Ok(event)
    }
}

impl Outcome {
    fn encode(&self, out: &mut Encoder) {
        let (tag, a, b) = match self.exit {
            Exit::Unknown => (0, 0, 0),
            Exit::Code(code) => (1, 0, code),
            Exit::Signal(signal) => (2, 0, signal),
            Exit::Setup { stage, errno } => (3, stage, errno),
        };
        out.u8(tag).u8(a).u32(b.cast_unsigned());
        out.u8(self.killed as u8).u8(u8::from(self.compiled));
        out.u32(self.oom_kills).u32(self.pids_hits);
        out.u64(self.cpu_ns).u64(self.memory_peak).u64(self.duration_ns);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (tag, a, b) = (input.u8()?, input.u8()?, input.u32()?.cast_signed());
        let exit = match (tag, a, b) {
            (0, 0, 0) => Exit::Unknown,
            (1, 0, code) => Exit::Code(code),
            (2, 0, signal) => Exit::Signal(signal),
            (3, stage, errno) => Exit::Setup { stage, errno },
            _ => return Err(Malformed("its exit is unknown")),
        };
        let killed = match input.u8()? {
            0 => KillCause::None,
            1 => KillCause::Wall,
            2 => KillCause::Cpu,
            3 => KillCause::Memory,
            4 => KillCause::Asked,
            5 => KillCause::Step,
            _ => return Err(Malformed("its cause is unknown")),
        };
        Ok(Self {
            exit,
            killed,
            compiled: input.bool()?,
            oom_kills: input.u32()?,
            pids_hits: input.u32()?,
            cpu_ns: input.u64()?,
            memory_peak: input.u64()?,
            duration_ns: input.u64()?,
        })
    }
}

impl Usage {
    fn encode(&self, out: &mut Encoder) {
        out.u8(u8::from(self.interrupted)).u64(self.cpu_ns).u64(self.memory_peak);
        out.u32(self.oom_kills).u32(self.pids_hits);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            interrupted: input.bool()?,
            cpu_ns: input.u64()?,
            memory_peak: input.u64()?,
            oom_kills: input.u32()?,
            pids_hits: input.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        let exit = prop_oneof![
            Just(Exit::Unknown),
            any::<i32>().prop_map(Exit::Code),
            any::<i32>().prop_map(Exit::Signal),
            any::<(u8, i32)>().prop_map(|(stage, errno)| Exit::Setup { stage, errno }),
        ];
        let killed = prop_oneof![
            Just(KillCause::None),
            Just(KillCause::Wall),
            Just(KillCause::Cpu),
            Just(KillCause::Memory),
            Just(KillCause::Asked),
            Just(KillCause::Step),
        ];
        (exit, killed, any::<(bool, u32, u32, u64, u64, u64)>()).prop_map(|(exit, killed, rest)| {
            let (compiled, oom_kills, pids_hits, cpu_ns, memory_peak, duration_ns) = rest;
            Outcome {
                exit,
                killed,
                compiled,
                oom_kills,
                pids_hits,
                cpu_ns,
                memory_peak,
                duration_ns,
            }
        })
    }

    proptest! {
        #[test]
        fn decoding_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Request::decode(&bytes);
            let _ = Event::decode(&bytes);
        }

        #[test]
        fn a_damaged_message_is_refused_or_still_a_message(
            outcome in outcome(), id in any::<u64>(), at in 0usize..64, with in any::<u8>(),
        ) {
            let mut bytes = Event::Finished { id, outcome }.encode();
            let at = at % bytes.len();
            bytes[at] = with;
            if let Ok(event) = Event::decode(&bytes) {
                prop_assert_eq!(event.encode(), bytes);
            }
        }

        #[test]
        fn what_is_encoded_is_what_is_decoded(
            id in any::<u64>(), outcome in outcome(), text in "\\PC{0,40}",
            blob in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let (step, rest_milli) = (outcome.oom_kills, outcome.pids_hits);
            let (wall_ns, grace_ns) = (outcome.cpu_ns, outcome.duration_ns);
            for request in [
                Request::Hello { options: blob.clone() },
                Request::Run { id },
                Request::Kill { id },
                Request::StepBegin { id, step, wall_ns, grace_ns },
                Request::StepEnd { id, step, rest_milli },
                Request::Interrupt { id },
            ] {
                prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            }
            let refused = Event::Refused { id, refusal: Refusal::Invalid, message: text };
            let usage = Usage {
                interrupted: outcome.compiled,
                cpu_ns: outcome.cpu_ns,
                memory_peak: outcome.memory_peak,
                oom_kills: outcome.oom_kills,
                pids_hits: outcome.pids_hits,
            };
            for event in [
                Event::Ready { capabilities: blob },
                Event::Started { id },
                Event::Finished { id, outcome },
                refused,
                Event::StepEnded { id, step, usage },
            ] {
                prop_assert_eq!(Event::decode(&event.encode()), Ok(event));
            }
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = Request::Run { id: 1 }.encode();
        bytes[2] ^= 1;
        assert_eq!(Request::decode(&bytes), Err(Malformed("its version differs")));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = Request::Kill { id: 1 }.encode();
        bytes.push(0);
        assert_eq!(Request::decode(&bytes), Err(Malformed("bytes follow its end")));
    }
}
