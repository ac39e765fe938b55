//! What can never pass, and why.

/// Why an entry can never pass.
pub struct Refused {
    pub code: &'static str,
    pub detail: String,
}

impl Refused {
    pub fn conflict() -> Self {
        Self {
            code: "conflict",
            detail: "the id was given to another notification before".into(),
        }
    }
}

/// A reason may quote what a producer sent, however long that is.
pub fn bounded(mut detail: String) -> String {
    if detail.len() > MAX_DETAIL {
        let cut = (0..=MAX_DETAIL)
            .rev()
            .find(|at| detail.is_char_boundary(*at))
            .unwrap_or(0);
        detail.truncate(cut);
        detail.push('…');
    }
    detail
}

/// Octets of a reason that are kept.
const MAX_DETAIL: usize = 500;
