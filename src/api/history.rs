//! What a history request asks for: `?created=MS&page_num=0&page_size=20`, and `shape=page` for the answer of an older release
//! (`data.content`). An empty value is the same as none; `_`, by which some browser libraries keep answers from being cached, is passed over.

use axum::extract::Query;
use axum::http::Uri;

use super::failure::Failure;
use crate::domain::time::EpochMs;

/// A page of a user's history.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// Created before this.
    pub before: EpochMs,
    pub page_num: u32,
    pub page_size: u32,
    pub shape: Shape,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Shape {
    List,
    Page,
}

const PAGE_SIZE: u32 = 20;

impl Asked {
    /// Reads the query, or names the parameter that is wrong.
    pub fn parse(uri: &Uri, max_page: u32) -> Result<Self, Failure> {
        let Query(said) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Failure::bad("query", "is not made of NAME=VALUE, joined by &"))?;
        let mut asked = Self {
            before: EpochMs::MAX,
            page_num: 0,
            page_size: PAGE_SIZE.min(max_page),
            shape: Shape::List,
        };
        for (name, value) in said.iter().filter(|(_, value)| !value.is_empty()) {
            match &**name {
                "created" => {
                    let wanted = "must be a time in epoch milliseconds, as in 1767225600000";
                    asked.before = value.parse().map_err(|_| Failure::bad("created", wanted))?;
                }
                "page_num" => {
                    let wanted = "must be a whole number from 0 on";
                    asked.page_num = value.parse().map_err(|_| Failure::bad("page_num", wanted))?;
                }
                "page_size" => {
                    let size = value.parse().ok().filter(|size| (1..=max_page).contains(size));
                    let wanted = || format!("must lie between 1 and {max_page} (api.max_page)");
                    asked.page_size = size.ok_or_else(|| Failure::bad("page_size", wanted()))?;
                }
                "shape" => {
                    asked.shape = match &**value {
                        "list" => Shape::List,
                        "page" => Shape::Page,
                        _ => return Err(Failure::bad("shape", "must be list or page")),
                    }
                }
                "_" => {}
                unknown => {
                    let name: String = unknown.chars().take(64).collect();
                    let known = "is not known here; known: created, page_num, page_size, shape";
                    return Err(Failure::bad(name, known));
                }
            }
        }
        Ok(asked)
    }
}
