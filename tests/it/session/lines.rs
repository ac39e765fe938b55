//! What comes out of a session, as lines for a person.

use quick_notify::session::inbox::Read;
use quick_notify::stomp::{Frame, ServerCommand};

pub fn line(frame: &Frame<ServerCommand>) -> String {
    let header = |name| frame.headers.get(name);
    let mut line = frame.command.as_str().to_owned();
    let mut say = |text: String| {
        line.push(' ');
        line.push_str(&text);
    };
    match frame.command {
        ServerCommand::Connected => {
            say(header("version").expect("a version").to_owned());
            say(header("user-name").expect("a user").to_owned());
        }
        ServerCommand::Receipt => say(header("receipt-id").expect("a receipt-id").to_owned()),
        ServerCommand::Error => {
            say(header("code").expect("a code").to_owned());
            header("receipt-id")
                .into_iter()
                .for_each(|id| say(format!("receipt={id}")));
        }
        ServerCommand::Message => {
            say(header("message-id").expect("an id").to_owned());
            header("attempt")
                .into_iter()
                .for_each(|attempt| say(format!("attempt={attempt}")));
            let other = header("subscription").filter(|id| *id != "sub-0");
            other.into_iter().for_each(|id| say(format!("to={id}")));
            header("replayed").into_iter().for_each(|_| say("replayed".into()));
        }
    }
    line
}

pub fn shown(read: Read) -> String {
    let all = read.all_after.map(|seq| format!(", all after {seq}"));
    format!("read {} after {}{}", read.limit, read.after, all.unwrap_or_default())
}
