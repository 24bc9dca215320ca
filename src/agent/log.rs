//! The log of an agent: a line on standard error for whatever it does, as text or as an object of JSON. A log that nobody
//! reads holds nobody up.

use jiff::Timestamp;
use metaferry_pipeline::Error;
use serde_json::{Map, Value, json};

use super::options::LogStyle;
use crate::output::{causes_of, tell};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Info,
    Warning,
    Error,
}

/// Where an agent says what it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    pub(super) style: LogStyle,
    /// What is in order is not told.
    pub(super) quiet: bool,
}

impl Log {
    /// Says something; `fields` is an object that a program reads.
    pub(super) fn say(&self, level: Level, event: &str, text: &str, fields: Value) {
        if self.quiet && level == Level::Info {
            return;
        }
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let name = match level {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        match self.style {
            LogStyle::Text => tell(format_args!("{now} {name}: {text}")),
            LogStyle::Json => {
                let head = json!({ "version": 1, "time": now, "level": name, "event": event, "text": text });
                let mut line = if let Value::Object(head) = head { head } else { Map::new() };
                if let Value::Object(fields) = fields {
                    line.extend(fields);
                }
                tell(Value::Object(line));
            }
        }
    }

    /// Says that something failed, and why.
    pub(super) fn failed(&self, event: &str, what: &str, error: &Error) {
        let causes: String = causes_of(error).iter().map(|cause| format!(": {cause}")).collect();
        let hint = error.what_to_do().map_or_else(String::new, |hint| format!(" ({hint})"));
        let fields = json!({ "kind": format!("{:?}", error.kind()), "hint": error.what_to_do() });
        self.say(Level::Error, event, &format!("{what}: {error}{causes}{hint}"), fields);
    }
}
