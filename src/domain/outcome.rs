//! How a stored notification ends. Exactly one outcome is ever written for a row, the first (a conditional update).

/// The end of a notification. `viewed` is an attribute of a row, not an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Some session acknowledged it, or its user marked it as read.
    Confirmed,
    /// Its user deleted it before anyone confirmed it.
    Deleted,
    /// Retention removed it unconfirmed.
    Expired,
    /// A newer notification took its place.
    Superseded,
    /// Its producer took it back.
    Cancelled,
    /// It can never be delivered.
    Dead,
}

impl Outcome {
    pub const ALL: [Self; 6] = [
        Self::Confirmed,
        Self::Deleted,
        Self::Expired,
        Self::Superseded,
        Self::Cancelled,
        Self::Dead,
    ];

    /// The value of the column `outcome`; an open row has 0.
    pub const fn code(self) -> i64 {
        match self {
            Self::Confirmed => 1,
            Self::Deleted => 2,
            Self::Expired => 3,
            Self::Superseded => 4,
            Self::Cancelled => 5,
            Self::Dead => 6,
        }
    }

    /// The name of the tally column, and of the metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}
