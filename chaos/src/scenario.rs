//! What is broken: the faults, what each may hurt, and the table of scenarios.

use crate::record::{Part, Record};
use crate::rng::Rng;

/// A dependency behind a fault proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// One Redis server.
    Redis,
    /// One Neo4j server.
    Neo4j,
}

impl Engine {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Neo4j => "neo4j",
        }
    }

    fn part(self) -> Part {
        match self {
            Self::Redis => Part::Redis,
            Self::Neo4j => Part::Neo4j,
        }
    }
}

/// What happens on the way to a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// 500 ms more, each way.
    Late,
    /// 1000 ± 500 ms more, each way.
    Erratic,
    /// 1 KB/s.
    Narrow,
    /// Three of ten pieces of data end their connection.
    Resets,
    /// Requests arrive, answers do not.
    HalfOpen,
    /// Nothing arrives, nothing is closed.
    Partition,
}

impl Trouble {
    const ALL: [Self; 6] =
        [Self::Late, Self::Erratic, Self::Narrow, Self::Resets, Self::HalfOpen, Self::Partition];

    fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Erratic => "erratic",
            Self::Narrow => "narrow",
            Self::Resets => "resets",
            Self::HalfOpen => "half-open",
            Self::Partition => "partition",
        }
    }
}

/// One way to break something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// SIGKILL of the server; the runner starts it again. Several times in a row.
    KillServer,
    /// SIGSTOP of the server for a while.
    PauseServer,
    /// SIGKILL of the launcher of the cells.
    KillLauncher,
    /// SIGKILL of the first process in prepared and running cells, again and again.
    KillCells,
    /// SIGKILL of the interpreter that others are forked from, whenever there is one.
    KillZygote,
    /// SIGKILL of a dependency, and its restart on the same data.
    Kill(Engine),
    /// SIGSTOP of Redis: it accepts connections and never answers.
    PauseRedis,
    /// Trouble on the way.
    Net(Engine, Trouble),
    /// Clients that send a byte now and then and never finish.
    SlowClients,
    /// Clients that hang up after they sent a call.
    DyingClients,
    /// Half of every processor is taken.
    BurnCpu,
    /// The data directory is on a small file system of which this many percent are taken.
    FillDisk(u8),
    /// Valid and invalid changes of the configuration, by file, signal and request.
    ConfigReload,
    /// Three of ten passes fail at fault points of the cell, Redis, the jobs and the roles.
    InjectSteps,
    /// Three of ten commits of the audit fail.
    InjectAudit,
    /// The actor of the roles, or of the audit, panics again and again.
    Panics(Actor),
    /// SIGKILL of one of two nodes, started again.
    KillNode,
    /// SIGSTOP of one of two nodes for a while.
    PauseNode,
    /// New keys for tokens and jobs, node by node, while clients work.
    RotateKeys,
    /// The certificate of the way to Redis is replaced, connections under the old one are cut.
    RotateCertificate,
    /// The control group of the server is filled to this many percent by a neighbour.
    FillMemory(u8),
    /// The wall clock of the server jumps an hour forth and back.
    JumpClock,
}

/// An actor that can be made to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Stores roles.
    Authorization,
    /// Writes the audit: nothing goes on without it.
    Audit,
}

/// The node that faults of one node hit.
pub const VICTIM: usize = 1;

impl Fault {
    /// Its name in reports and on the command line.
    pub fn name(self) -> String {
        match self {
            Self::KillServer => "kill-server".to_owned(),
            Self::PauseServer => "stop-server".to_owned(),
            Self::KillLauncher => "kill-launcher".to_owned(),
            Self::KillCells => "kill-cells".to_owned(),
            Self::KillZygote => "kill-zygote".to_owned(),
            Self::Kill(engine) => format!("kill-{}", engine.name()),
            Self::PauseRedis => "stop-redis".to_owned(),
            Self::Net(engine, trouble) => format!("{}-{}", engine.name(), trouble.name()),
            Self::SlowClients => "slow-clients".to_owned(),
            Self::DyingClients => "dying-clients".to_owned(),
            Self::BurnCpu => "cpu-50%".to_owned(),
            Self::FillDisk(100) => "disk-full".to_owned(),
            Self::FillDisk(percent) => format!("disk-{percent}%"),
            Self::ConfigReload => "config-reload".to_owned(),
            Self::InjectSteps => "injected-30%".to_owned(),
            Self::InjectAudit => "injected-audit-30%".to_owned(),
            Self::Panics(Actor::Authorization) => "panics-roles".to_owned(),
            Self::Panics(Actor::Audit) => "panics-audit".to_owned(),
            Self::KillNode => "kill-node".to_owned(),
            Self::PauseNode => "stop-node".to_owned(),
            Self::RotateKeys => "key-rotation".to_owned(),
            Self::RotateCertificate => "certificate-rotation".to_owned(),
            Self::FillMemory(percent) => format!("memory-{percent}%"),
            Self::JumpClock => "clock-jumps".to_owned(),
        }
    }

    /// What it may make fail; everything else must go on.
    pub fn hurts(self) -> &'static [Part] {
        match self {
            Self::KillServer
            | Self::PauseServer
            | Self::FillDisk(100)
            | Self::InjectAudit
            | Self::Panics(Actor::Audit) => &[Part::Server],
            Self::InjectSteps => &[Part::Cell, Part::Redis, Part::Jobs, Part::Roles],
            Self::Panics(Actor::Authorization) => &[Part::Roles],
            Self::KillLauncher | Self::KillCells => &[Part::Cell],
            Self::PauseRedis | Self::RotateCertificate => &[Part::Redis],
            Self::Kill(engine) | Self::Net(engine, _) => match engine.part() {
                Part::Redis => &[Part::Redis],
                _ => &[Part::Neo4j],
            },
            // Of a node only what was sent to it: see `Scenario::spares`.
            Self::KillNode | Self::PauseNode => &[],
            // Runs then start their own interpreter.
            Self::KillZygote
            | Self::SlowClients
            | Self::DyingClients
            | Self::BurnCpu
            | Self::FillDisk(_)
            | Self::ConfigReload
            | Self::RotateKeys
            | Self::FillMemory(_)
            | Self::JumpClock => &[],
        }
    }

    /// Whether it is about several nodes.
    pub fn needs_nodes(self) -> bool {
        matches!(self, Self::KillNode | Self::PauseNode | Self::RotateKeys)
    }

    /// Whether the server must be built with fault points.
    pub fn needs_fault_points(self) -> bool {
        matches!(self, Self::InjectSteps | Self::InjectAudit | Self::Panics(_))
    }

    /// Whether it may happen beside another: not when the server runs in surroundings of its own.
    fn may_be_in_pairs(self) -> bool {
        !self.needs_nodes()
            && !matches!(self, Self::FillMemory(_) | Self::JumpClock | Self::RotateCertificate)
    }

    /// Whether a dependency cannot be reached at all, so that health must not say `ready`.
    pub fn is_away(self) -> bool {
        matches!(
            self,
            Self::Kill(_) | Self::PauseRedis | Self::Net(_, Trouble::HalfOpen | Trouble::Partition)
        )
    }

    /// Whether the graph must be kept in Neo4j.
    pub fn needs_neo4j(self) -> bool {
        // Several nodes have one graph only where Neo4j keeps it.
        matches!(self, Self::Kill(Engine::Neo4j) | Self::Net(Engine::Neo4j, _))
            || self.needs_nodes()
    }

    /// Whether the data directory must be on a small file system of its own.
    pub fn needs_small_disk(self) -> bool {
        matches!(self, Self::FillDisk(_))
    }
}

/// Faults that happen at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// One, or two.
    pub faults: Vec<Fault>,
}

impl Scenario {
    /// The names of its faults.
    pub fn name(&self) -> String {
        self.faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(" + ")
    }

    /// What its faults may make fail.
    pub fn hurts(&self) -> Vec<Part> {
        self.faults.iter().flat_map(|fault| fault.hurts()).copied().collect()
    }

    /// Whether nothing stood in the way of a call.
    pub fn spares(&self, record: &Record) -> bool {
        let at_victim = record.node == VICTIM
            && self.faults.iter().any(|f| matches!(f, Fault::KillNode | Fault::PauseNode));
        !at_victim && !record.kind.is_affected(&self.hurts(), self.needs_neo4j())
    }

    /// How many servers run.
    pub fn node_count(&self) -> usize {
        if self.faults.iter().any(|fault| fault.needs_nodes()) { 2 } else { 1 }
    }

    /// Whether any of its faults is this one.
    pub fn has(&self, wanted: impl Fn(Fault) -> bool) -> bool {
        self.faults.iter().any(|fault| wanted(*fault))
    }

    /// Whether the graph must be kept in Neo4j.
    pub fn needs_neo4j(&self) -> bool {
        self.faults.iter().any(|fault| fault.needs_neo4j())
    }

    /// Whether the data directory must be on a small file system of its own.
    pub fn needs_small_disk(&self) -> bool {
        self.faults.iter().any(|fault| fault.needs_small_disk())
    }
}

/// Every fault alone.
pub fn singles() -> Vec<Scenario> {
    let mut faults = vec![
        Fault::KillServer,
        Fault::PauseServer,
        Fault::KillLauncher,
        Fault::KillCells,
        Fault::KillZygote,
        Fault::Kill(Engine::Redis),
        Fault::PauseRedis,
    ];
    faults.extend(Trouble::ALL.map(|trouble| Fault::Net(Engine::Redis, trouble)));
    faults.extend([
        Fault::SlowClients,
        Fault::DyingClients,
        Fault::BurnCpu,
        Fault::FillMemory(80),
        Fault::FillDisk(95),
        Fault::FillDisk(100),
        Fault::ConfigReload,
        Fault::InjectSteps,
        Fault::InjectAudit,
        Fault::Panics(Actor::Authorization),
        Fault::Panics(Actor::Audit),
        Fault::JumpClock,
        Fault::RotateCertificate,
        Fault::Kill(Engine::Neo4j),
    ]);
    faults.extend(Trouble::ALL.map(|trouble| Fault::Net(Engine::Neo4j, trouble)));
    faults.extend([Fault::KillNode, Fault::PauseNode, Fault::RotateKeys]);
    faults.into_iter().map(|fault| Scenario { faults: vec![fault] }).collect()
}

/// The `number`th pair of this seed: two different faults that do not break the same thing.
pub fn pair(seed: u64, number: usize) -> Scenario {
    let mut rng = Rng::new(seed, &format!("pair-{number}"));
    let singles = singles().into_iter().flat_map(|scenario| scenario.faults);
    let all: Vec<Fault> = singles.filter(|fault| fault.may_be_in_pairs()).collect();
    loop {
        let (a, b) = (all[rng.below(all.len())], all[rng.below(all.len())]);
        let same = a == b || a.hurts().iter().any(|part| b.hurts().contains(part));
        let one_disk = a.needs_small_disk() && b.needs_small_disk();
        if !(same || one_disk) {
            return Scenario { faults: vec![a, b] };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    #[test]
    fn the_same_seed_gives_the_same_pairs_of_faults_that_break_different_things() {
        for number in 0..50 {
            let pair = super::pair(3, number);
            assert_eq!(pair, super::pair(3, number));
            assert_ne!(pair.faults[0], pair.faults[1]);
        }
        assert!((0..50).any(|number| super::pair(3, number) != super::pair(4, number)));
    }

    #[test]
    fn names_are_unique_and_every_fault_but_those_of_the_server_leaves_something_unaffected() {
        let names: Vec<String> = singles().iter().map(Scenario::name).collect();
        let unique: std::collections::HashSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for scenario in singles() {
            let hurt = scenario.hurts();
            let unaffected = |kind: &Kind| !kind.is_affected(&hurt, scenario.needs_neo4j());
            let any = Kind::ALL.iter().any(unaffected);
            assert_eq!(any, !hurt.contains(&Part::Server), "{}", scenario.name());
        }
    }
}
