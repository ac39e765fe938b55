//! How the transports over HTTP wrap a frame, and what stands before the first.

use super::frame;

/// One way to wrap frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// xhr-polling and xhr-streaming: a line each.
    Lines,
    /// eventsource: an event each.
    Events,
    /// htmlfile: a script each, in one page that never ends.
    Scripts(Callback),
    /// jsonp-polling: a call.
    Call(Callback),
}

/// The name of a function in the client's page. Only letters, digits, `-`, `_` and `.`: it becomes part of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback(String);

/// Why a request names no function. The words are the protocol's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCallback {
    #[error("\"callback\" parameter required")]
    Missing,
    #[error("invalid \"callback\" parameter")]
    Invalid,
}

/// Browsers hold back the beginning of a response that they may yet have to guess the type of.
const STREAM_PRELUDE: usize = 2_048;
const PAGE_PRELUDE: usize = 1_024;
const CALLBACK_MOST: usize = 64;

impl Format {
    /// What a streaming response begins with.
    pub fn prelude(&self) -> String {
        match self {
            Self::Lines => format!("{}\n", "h".repeat(STREAM_PRELUDE)),
            Self::Events => "\r\n".to_owned(),
            Self::Scripts(Callback(callback)) => {
                let page = format!(
                    "<!doctype html>\n<html><head>\n  \
                     <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n  \
                     <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n\
                     </head><body><h2>Don't panic!</h2>\n  \
                     <script>\n    document.domain = document.domain;\n    var c = parent.{callback};\n    c.start();\n    \
                     function p(d) {{c.message(d);}};\n    window.onload = function() {{c.stop();}};\n  </script>"
                );
                format!("{page:<PAGE_PRELUDE$}\r\n\r\n")
            }
            Self::Call(_) => String::new(),
        }
    }

    /// One frame, wrapped.
    pub fn wrap(&self, frame: &str) -> String {
        match self {
            Self::Lines => format!("{frame}\n"),
            Self::Events => format!("data: {frame}\r\n\r\n"),
            Self::Scripts(_) => format!("<script>\np({});\n</script>\r\n", script(frame)),
            // The comment keeps what follows from being read as something else, such as a plug-in's file.
            Self::Call(Callback(callback)) => format!("/**/{callback}({});\r\n", script(frame)),
        }
    }

    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Lines | Self::Call(_) => "application/javascript; charset=UTF-8",
            Self::Events => "text/event-stream",
            Self::Scripts(_) => "text/html; charset=UTF-8",
        }
    }
}

impl Callback {
    pub fn parse(name: Option<&str>) -> Result<Self, BadCallback> {
        let name = name.filter(|name| !name.is_empty()).ok_or(BadCallback::Missing)?;
        let is_fine = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.');
        match name.len() <= CALLBACK_MOST && name.bytes().all(is_fine) {
            true => Ok(Self(name.to_owned())),
            false => Err(BadCallback::Invalid),
        }
    }
}

/// A frame as a string of JavaScript that may stand within HTML: no tag begins or ends in it.
fn script(text: &str) -> String {
    let mut quoted = String::new();
    frame::quote(text, &mut quoted);
    match quoted.contains('<') {
        true => quoted.replace('<', "\\u003c"),
        false => quoted,
    }
}
