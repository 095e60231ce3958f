//! A limit under its name.

use std::sync::Arc;

use crate::config::Owner;

/// Where a limit counts: in one table, two limits of one name would count for each other, and each
/// could push the other's counts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Table {
    /// The limits of local policies.
    Local,
    /// Those of the cloud's policies.
    Cloud,
    /// Those in shadow.
    Shadow,
}

impl Table {
    pub(super) const ALL: [Self; 3] = [Self::Local, Self::Cloud, Self::Shadow];

    /// As other processes and nodes know it.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Local => 0,
            Self::Cloud => 1,
            Self::Shadow => 2,
        }
    }

    pub(super) fn of_code(code: u8) -> Self {
        match code {
            0 => Self::Local,
            1 => Self::Cloud,
            _ => Self::Shadow,
        }
    }
}

impl From<Owner> for Table {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Local => Self::Local,
            Owner::Cloud => Self::Cloud,
        }
    }
}

/// One rule that limits.
#[derive(Debug)]
pub struct Limit<T> {
    /// Policy and rule: what counts go on under when a configuration is replaced.
    pub(in crate::policy) name: Arc<str>,
    pub(in crate::policy) table: Table,
    pub(in crate::policy) settings: Arc<T>,
}

impl<T> Clone for Limit<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            table: self.table,
            settings: self.settings.clone(),
        }
    }
}
