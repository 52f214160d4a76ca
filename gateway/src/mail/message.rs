//! A letter as a message on the wire: a text and an HTML part, and headers that nobody's name can add to.

use askama::Template;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::{Letter, Sending};

/// The longest line that needs no encoding, in bytes; with room below what a server must take (RFC 5321 §4.5.3.1.6).
const LINE_BYTES_MAX: usize = 900;

#[derive(Template)]
#[template(path = "letter.txt", escape = "none")]
struct Text<'a> {
    letter: &'a Letter,
    site: &'a str,
}

/// Whatever is put into it is escaped.
#[derive(Template)]
#[template(path = "letter.html")]
struct Html<'a> {
    letter: &'a Letter,
    site: &'a str,
}

/// A letter can't be written: an address or a template is at fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritable {
    #[error("the address is none for mail")]
    Address(#[from] lettre::address::AddressError),
    #[error("the template can't be filled in")]
    Template(#[from] askama::Error),
    #[error("the message can't be put together")]
    Message(#[from] lettre::error::Error),
}

/// The message. Its id is made of the job's, so that one that is sent again can be told by whoever receives it.
///
/// # Errors
/// [`Unwritable`]
pub(super) fn compose(
    from: &Mailbox,
    site: &str,
    sending: Sending<'_>,
    letter: &Letter,
) -> Result<Message, Unwritable> {
    let to: Address = sending.to.as_str().parse()?;
    let (text, html) = (Text { letter, site }.render()?, Html { letter, site }.render()?);
    let parts = MultiPart::alternative()
        .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(readable(text)))
        .singlepart(SinglePart::html(html));
    // Nobody's out-of-office note is an answer to it (RFC 3834 §5).
    let automatic =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(letter.subject.clone())
        .date(sending.at.into())
        .message_id(Some(format!("<{}@{}>", sending.job.0, from.email.domain())))
        .raw_header(automatic)
        .multipart(parts)?;
    Ok(message)
}

/// As it is, where that can be sent: an encoded text breaks links in two for whoever reads the file.
fn readable(text: String) -> Body {
    if text.is_ascii() && text.lines().all(|line| line.len() <= LINE_BYTES_MAX) {
        let lines = text.lines().flat_map(|line| [line, "\r\n"]).collect::<String>();
        Body::dangerous_pre_encoded(lines.into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Link;
    use chrono::DateTime;
    use engine::jobs::JobId;
    use uuid::Uuid;

    fn letter() -> Letter {
        Letter {
            subject: "You are invited to Acme".to_owned(),
            name: Some("Ann".to_owned()),
            before: vec!["You are invited to Acme.".to_owned()],
            link: Some(Link {
                label: "Accept".to_owned(),
                url: "https://t.example/login#invitation=abc".to_owned(),
                code: "abc".to_owned(),
            }),
            code: None,
            after: vec!["Else do nothing.".to_owned()],
        }
    }

    fn written(letter: &Letter) -> String {
        let (from, to) = ("T <noreply@t.example>".parse().unwrap(), "ann@acme.example".parse().unwrap());
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let sending = Sending { job: JobId(Uuid::from_u128(7)), at, to: &to, about: [None; 2] };
        let message = compose(&from, "https://t.example", sending, letter).unwrap();
        String::from_utf8(message.formatted()).unwrap()
    }

    fn headers(mail: &str) -> &str {
        mail.split_once("\r\n\r\n").unwrap().0
    }

    #[test]
    fn a_letter_has_a_text_and_an_html_part_and_says_that_nobody_wrote_it() {
        let mail = written(&letter());
        let headers = headers(&mail);
        for expected in [
            "To: ann@acme.example",
            "From: T <noreply@t.example>",
            "Subject: You are invited to Acme",
            "Message-ID: <00000000-0000-0000-0000-000000000007@t.example>",
            "Date: Fri, 15 Jan 2027 08:00:00 +0000",
            "Auto-Submitted: auto-generated",
            "Content-Type: multipart/alternative;",
        ] {
            assert!(headers.contains(expected), "{expected}: {headers}");
        }
        assert!(mail.contains("Content-Type: text/plain; charset=utf-8\r\n"));
        assert!(mail.contains("Content-Type: text/html; charset=utf-8\r\n"));
        assert!(
            mail.contains("\r\n  https://t.example/login#invitation=abc\r\n"),
            "the link is whole: {mail}"
        );
        assert!(
            mail.contains("<a href=3D\"https://t.example/login")
                || mail.contains("<a href=\"https://t.example/login")
        );
        assert!(!mail.replace("\r\n", "").contains(['\r', '\n']), "each line ends as RFC 5322 says");
    }

    #[test]
    fn a_mail_that_is_sent_again_has_the_same_headers() {
        let without_boundary = |mail: String| headers(&mail).split("boundary=").next().unwrap().to_owned();
        assert_eq!(without_boundary(written(&letter())), without_boundary(written(&letter())));
    }

    #[test]
    fn nothing_that_stands_in_a_letter_becomes_markup() {
        let mut letter = letter();
        letter.name = Some("<script>alert('x')</script>".to_owned());
        letter.before = vec!["You & <b>\"they\"</b>".to_owned()];
        let html = Html { letter: &letter, site: "https://t.example" }.render().unwrap();
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
        let text = Text { letter: &letter, site: "https://t.example" }.render().unwrap();
        assert!(text.contains("You & <b>\"they\"</b>"), "a text needs no escapes: {text}");
    }

    #[test]
    fn a_subject_is_one_header_whatever_is_put_into_it() {
        let mut letter = letter();
        for subject in [
            "x\r\nBcc: eve@evil.example",
            "x\nBcc: eve@evil.example",
            "x\rBcc: eve@evil.example",
            "株式会社\r\n\r\nHi",
        ] {
            letter.subject = subject.to_owned();
            let mail = written(&letter);
            let bcc = headers(&mail).lines().any(|line| line.to_ascii_lowercase().starts_with("bcc"));
            assert!(!bcc && headers(&mail).contains("\r\nMessage-ID: "), "{mail}");
        }
    }

    #[test]
    fn what_is_not_ascii_arrives_encoded() {
        let mut letter = letter();
        letter.name = Some("Zoë".to_owned());
        letter.subject = "Einladung für Zoë".to_owned();
        let mail = written(&letter);
        assert!(
            mail.is_ascii() && mail.contains("quoted-printable") && headers(&mail).contains("=?utf-8?"),
            "{mail}"
        );
    }
}
