//! The frames of a server: `o`, `h`, `a[…]` and `c[code,"reason"]`.

/// The session is open; the first frame.
pub const OPEN: &str = "o";
/// Says that the server is there, so that proxies keep the connection.
pub const HEARTBEAT: &str = "h";

/// Messages, in order.
pub fn messages<'a>(messages: impl IntoIterator<Item = &'a str>) -> String {
    let mut frame = String::from("a[");
    for (at, message) in messages.into_iter().enumerate() {
        if at > 0 {
            frame.push(',');
        }
        quote(message, &mut frame);
    }
    frame.push(']');
    frame
}

/// The end of the session.
pub fn close(code: u16, reason: &str) -> String {
    let mut frame = format!("c[{code},");
    quote(reason, &mut frame);
    frame.push(']');
    frame
}

/// Appends `text` as a JSON string. Beyond what JSON asks for it escapes what browsers have been seen to change on the way (the specification's
/// list) and what is more than one UTF-16 unit.
pub fn quote(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut plain = 0;
    for (at, letter) in text.char_indices() {
        if !needs_escape(letter) {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + letter.len_utf8();
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            _ => escape(letter, out),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// `\u` and four hex digits for each UTF-16 unit.
pub(super) fn escape(letter: char, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str("\\u");
        for shift in [12, 8, 4, 0] {
            out.push(char::from(HEX[usize::from(*unit >> shift & 0xf)]));
        }
    }
}

fn needs_escape(letter: char) -> bool {
    matches!(letter,
        '\0'..='\x1f' | '"' | '\\'
        | '\u{200c}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{10ffff}')
}
