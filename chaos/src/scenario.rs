//! What is broken: the faults, what each may hurt, and the table of scenarios.

use crate::record::Part;
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
}

impl Fault {
    /// Its name in reports and on the command line.
    pub fn name(self) -> String {
        match self {
            Self::KillServer => "kill-server".to_owned(),
            Self::PauseServer => "stop-server".to_owned(),
            Self::KillLauncher => "kill-launcher".to_owned(),
            Self::KillCells => "kill-cells".to_owned(),
            Self::Kill(engine) => format!("kill-{}", engine.name()),
            Self::PauseRedis => "stop-redis".to_owned(),
            Self::Net(engine, trouble) => format!("{}-{}", engine.name(), trouble.name()),
            Self::SlowClients => "slow-clients".to_owned(),
            Self::DyingClients => "dying-clients".to_owned(),
            Self::BurnCpu => "cpu-50%".to_owned(),
            Self::FillDisk(100) => "disk-full".to_owned(),
            Self::FillDisk(percent) => format!("disk-{percent}%"),
        }
    }

    /// What it may make fail; everything else must go on.
    pub fn hurts(self) -> &'static [Part] {
        match self {
            Self::KillServer | Self::PauseServer | Self::FillDisk(100) => &[Part::Server],
            Self::KillLauncher | Self::KillCells => &[Part::Cell],
            Self::PauseRedis => &[Part::Redis],
            Self::Kill(engine) | Self::Net(engine, _) => match engine.part() {
                Part::Redis => &[Part::Redis],
                _ => &[Part::Neo4j],
            },
            Self::SlowClients | Self::DyingClients | Self::BurnCpu | Self::FillDisk(_) => &[],
        }
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
        matches!(self, Self::Kill(Engine::Neo4j) | Self::Net(Engine::Neo4j, _))
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
        Fault::Kill(Engine::Redis),
        Fault::PauseRedis,
    ];
    faults.extend(Trouble::ALL.map(|trouble| Fault::Net(Engine::Redis, trouble)));
    faults.extend([
        Fault::SlowClients,
        Fault::DyingClients,
        Fault::BurnCpu,
        Fault::FillDisk(95),
        Fault::FillDisk(100),
        Fault::Kill(Engine::Neo4j),
    ]);
    faults.extend(Trouble::ALL.map(|trouble| Fault::Net(Engine::Neo4j, trouble)));
    faults.into_iter().map(|fault| Scenario { faults: vec![fault] }).collect()
}

/// The `number`th pair of this seed: two different faults that do not break the same thing.
pub fn pair(seed: u64, number: usize) -> Scenario {
    let mut rng = Rng::new(seed, &format!("pair-{number}"));
    let all: Vec<Fault> = singles().into_iter().flat_map(|scenario| scenario.faults).collect();
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
