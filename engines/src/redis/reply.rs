//! What a Redis server answers: any reply as a value, and error replies with what to do about them. Knows no bytes but
//! an error's line.

use std::fmt;

use metaferry_pipeline::{Error, ErrorKind};

/// An error reply: `-CODE text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The first word, as `NOPERM` or `ERR`.
    pub code: String,
    /// What follows.
    pub text: String,
}

impl ServerError {
    /// Reads an error line, without its mark. Servers cite the arguments of commands they do not know: that part is
    /// dropped, as it may hold a password.
    pub(super) fn parse(line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line);
        let line = line.split(", with args beginning with").next().unwrap_or_default();
        let (code, text) = match line.split_once(' ') {
            Some((code, text)) if code.bytes().all(|b| b.is_ascii_uppercase()) => (code, text),
            _ => ("ERR", line),
        };
        Self { code: code.to_owned(), text: text.to_owned() }
    }

    /// Whether the server closes the connection after it, whatever was asked.
    pub(super) fn closes(&self) -> bool {
        self.code == "DENIED" || self.text.starts_with("max number of clients")
    }

    /// What to do about it, and who can.
    fn advice(&self) -> (ErrorKind, Option<&'static str>) {
        match self.code.as_str() {
            "NOAUTH" | "WRONGPASS" => {
                (ErrorKind::Config, Some("give user and password in the URL, or the password in META_PASSWORD"))
            }
            "NOPERM" => (ErrorKind::Config, Some("give the user this command and these keys with ACL SETUSER")),
            "MOVED" | "ASK" | "TRYAGAIN" => (ErrorKind::Engine, Some("the cluster is moving slots: start again")),
            "CLUSTERDOWN" => (ErrorKind::Engine, Some("the cluster does not serve all slots: see CLUSTER INFO")),
            "OOM" => (ErrorKind::Engine, Some("raise the server's maxmemory")),
            "MISCONF" => (ErrorKind::Engine, Some("the server cannot save its data: see its log and disk")),
            "READONLY" => (ErrorKind::Config, Some("this server is a replica: give the master's address")),
            "LOADING" => (ErrorKind::Engine, Some("the server is still loading its data: try again later")),
            "NOMASTERLINK" | "MASTERDOWN" => {
                (ErrorKind::Engine, Some("this server is a replica without its master: give the master's address"))
            }
            "DENIED" => (ErrorKind::Config, Some("the server takes no remote clients while it has no password")),
            _ => (ErrorKind::Engine, None),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

impl std::error::Error for ServerError {}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        let (kind, hint) = error.advice();
        let outer = Self::new(kind, "the server refused").because(error);
        match hint {
            Some(hint) => outer.hint(hint),
            None => outer,
        }
    }
}

/// Any reply, for what is rare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR …`
    Error(ServerError),
    /// `:1`
    Integer(i64),
    /// `$3 …`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*2 …`
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes of a bulk or status reply.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Status(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The text of a bulk or status reply, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The number in an integer reply.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The items of an array reply.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }
}
