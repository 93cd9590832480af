//! The nine permissions.

use serde::{Deserialize, Serialize};

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Something a role may be allowed to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Permission] = &[$(Permission::$variant,)+];

            /// The name in policies, tokens' scopes and answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Permission::$variant => $name,)+
                }
            }
        }
    };
}

permissions! {
    /// See which tools and prompts there are.
    ToolsRead = "tools:read",
    /// Lint code.
    ToolsLint = "tools:lint",
    /// Read the graph.
    GraphQuery = "graph:query",
    /// Run code in the cell.
    ToolsExecute = "tools:execute",
    /// Run tests in the cell.
    ToolsTest = "tools:test",
    /// Generate code from templates.
    ToolsGenerate = "tools:generate",
    /// Write to the graph.
    GraphUpsert = "graph:upsert",
    /// Delete from the graph.
    GraphDelete = "graph:delete",
    /// Read the audit, assign roles, issue tokens for others, see and steer the engine.
    SystemAdmin = "system:admin",
}

impl Permission {
    /// Finds the permission of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == name)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u16);

impl Permissions {
    /// Whether it holds this one.
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & bit(permission) != 0
    }

    /// Adds one.
    pub fn insert(&mut self, permission: Permission) {
        self.0 |= bit(permission);
    }

    /// What either holds.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those it holds, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        let mut set = Self::default();
        permissions.into_iter().for_each(|permission| set.insert(permission));
        set
    }
}

fn bit(permission: Permission) -> u16 {
    1 << (permission as u16)
}
