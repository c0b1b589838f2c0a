//! One conversation with the mail server: connect, hand over a mail, tell apart what failed.
//!
//! Every step has a time limit of its own, for the library has none; a connection whose answer did not come in time is closed,
//! never used again: a late answer would be taken for that to the next mail.

use super::settings::{Security, Server};
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use std::time::Duration;
use tokio::net::TcpStream;

/// How much of what a server says people are told, in characters.
const TOLD: usize = 300;

/// A mail as it goes over the wire.
pub(super) struct Envelope<'a> {
    pub(super) from: &'a Address,
    pub(super) to: &'a Address,
    pub(super) mail: &'a [u8],
}

/// Why a mail did not go out, and what becomes of the connection.
pub(super) enum Failure {
    /// The server as a whole takes nothing; the connection is lost.
    Server(String),
    /// The server had closed the connection before; a new one may serve.
    Stale(String),
    /// This mail is tried again.
    Again(String, Connection),
    /// This mail is refused for good.
    Refused(String, Connection),
}

/// What becomes of the connection after a mail that was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Connection {
    /// It serves the next mail.
    Usable,
    /// It must be closed.
    Lost,
}

/// What went wrong at one step.
enum Fault {
    Code(u16, String),
    /// No answer, or none that can be read.
    Silence(String),
}

/// Connects, greets, protects the connection, proves who we are.
pub(super) async fn connect(server: &Server, timeout: Duration) -> Result<AsyncSmtpConnection, String> {
    let connecting = async {
        let hello = ClientId::default();
        let implicit = match &server.security {
            Security::Implicit(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let to = (server.host.as_str(), server.port);
        let mut connection = if implicit.is_some() {
            AsyncSmtpConnection::connect_tokio1(to, None, &hello, implicit, None).await.map_err(|error| told(&error))?
        } else {
            let stream = TcpStream::connect(to).await.map_err(|error| told(&error))?;
            // A conversation of short lines: what waits for more to send waits 40 ms for nothing.
            stream.set_nodelay(true).map_err(|error| told(&error))?;
            let connecting = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
            connecting.await.map_err(|error| told(&error))?
        };
        match &server.security {
            Security::Required(parameters) => {
                connection.starttls(parameters.clone(), &hello).await.map_err(|error| told(&error))?;
            }
            Security::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &hello).await.map_err(|error| told(&error))?;
            }
            Security::None | Security::Opportunistic(_) | Security::Implicit(_) => {}
        }
        if let Some(credentials) = &server.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(|error| told(&error))?;
        }
        Ok::<_, String>(connection)
    };
    let name = format!("mail server {}:{}", server.host, server.port);
    match tokio::time::timeout(timeout, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(why)) => Err(format!("{name}: {why}")),
        Err(_) => Err(format!("{name} does not answer within {timeout:?}")),
    }
}

/// Whether the server would take a mail of this sender now.
pub(super) async fn probe(
    connection: &mut AsyncSmtpConnection,
    from: &Address,
    timeout: Duration,
) -> Result<(), String> {
    let mail = Mail::new(Some(from.clone()), Vec::new());
    step(timeout, connection.command(mail)).await.map_err(|fault| format!("MAIL FROM:<{from}>: {}", fault.told()))?;
    step(timeout, connection.command(Rset)).await.map_err(|fault| format!("RSET: {}", fault.told()))?;
    Ok(())
}

/// Hands over a mail. `used`: the connection has waited since its last mail.
pub(super) async fn send(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope<'_>,
    used: bool,
    timeout: Duration,
) -> Result<(), Failure> {
    let mut parameters = Vec::new();
    if !envelope.to.to_string().is_ascii() || !envelope.from.to_string().is_ascii() {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            let why = "the address needs SMTPUTF8, which the mail server does not offer".to_owned();
            return Err(Failure::Refused(why, Connection::Usable));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !envelope.mail.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    // The sender is the same for every mail: what is refused here is refused for all.
    let mail = Mail::new(Some(envelope.from.clone()), parameters);
    if let Err(fault) = step(timeout, connection.command(mail)).await {
        let why = format!("MAIL FROM:<{}>: {}", envelope.from, fault.told());
        let stale = used && matches!(fault, Fault::Silence(_) | Fault::Code(421, _));
        return Err(if stale { Failure::Stale(why) } else { Failure::Server(why) });
    }
    let recipient = Rcpt::new(envelope.to.clone(), Vec::new());
    if let Err(fault) = step(timeout, connection.command(recipient)).await {
        return Err(failed(connection, "RCPT TO", fault, timeout).await);
    }
    if let Err(fault) = step(timeout, connection.command(Data)).await {
        return Err(failed(connection, "DATA", fault, timeout).await);
    }
    // In one piece, for the server answers to the end of it: sent apart, that waits for the rest to be acknowledged.
    if let Err(fault) = step(timeout, connection.command(stuffed(envelope.mail))).await {
        return Err(failed(connection, "after DATA", fault, timeout).await);
    }
    Ok(())
}

/// The mail as it stands behind DATA: every line ends the same way, none is the end but the last.
fn stuffed(mail: &[u8]) -> String {
    let mail = String::from_utf8_lossy(mail);
    let mut stuffed = String::with_capacity(mail.len() + 16);
    for line in mail.lines() {
        // A lone CR is the end of a line to some servers: what follows it could be a command.
        let line = line.replace('\r', "");
        if line.starts_with('.') {
            stuffed.push('.');
        }
        stuffed.push_str(&line);
        stuffed.push_str("\r\n");
    }
    stuffed.push_str(".\r\n");
    stuffed
}

/// What a fault means that concerns one mail.
async fn failed(connection: &mut AsyncSmtpConnection, at: &str, fault: Fault, timeout: Duration) -> Failure {
    let why = format!("{at}: {}", fault.told());
    let code = match fault {
        Fault::Silence(_) | Fault::Code(421, _) => return Failure::Again(why, Connection::Lost),
        // Who may send at all is no matter of this mail.
        Fault::Code(530 | 535, _) => return Failure::Server(why),
        Fault::Code(code, _) => code,
    };
    let reset = step(timeout, connection.command(Rset)).await.is_ok();
    let connection = if reset { Connection::Usable } else { Connection::Lost };
    if code >= 500 { Failure::Refused(why, connection) } else { Failure::Again(why, connection) }
}

async fn step(timeout: Duration, asking: impl Future<Output = Result<Response, Error>>) -> Result<(), Fault> {
    match tokio::time::timeout(timeout, asking).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(match error.status() {
            Some(code) => Fault::Code(code.into(), told(&error)),
            None => Fault::Silence(told(&error)),
        }),
        Err(_) => Err(Fault::Silence(format!("the mail server does not answer within {timeout:?}"))),
    }
}

impl Fault {
    fn told(&self) -> &str {
        match self {
            Self::Code(_, told) | Self::Silence(told) => told,
        }
    }
}

/// An error with what is behind it, on one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let more = error.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        behind = error.source();
    }
    told.chars().take(TOLD).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::stuffed;

    #[test]
    fn attack_39_no_line_of_a_mail_ends_it() {
        for (mail, expected) in [
            ("a\r\nb", "a\r\nb\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a\r\n.\r\nMAIL FROM:<x>", "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb", "a.b\r\n.\r\n"),
            ("a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\n\r.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("", ".\r\n"),
        ] {
            assert_eq!(stuffed(mail.as_bytes()), expected, "{mail:?}");
        }
    }
}
