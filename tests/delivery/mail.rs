//! What a mail looks like to a mail client, and how the way to the server is protected.

use crate::post::{Post, Running, mail, options};
use crate::servers::{Certificate, Smtp};
use anyhow::Result;
use quorate::delivery::Reach;
use quorate::delivery::settings::{Dkim, Options};
use quorate::notify::Destination;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r41_a_mail_client_reads_what_was_meant() -> Result<()> {
    let smtp = Smtp::start(&[]).await?;
    let post = Post::open().await?;
    let text = format!("Žluťoučký kůň\n.\n..dots\n{}\nFrom me to you\n", "long ".repeat(400));
    let mut full = mail(1, "anna");
    full.to = Destination::Mail { address: "anna@example.com".to_owned(), name: Some("Anna \"K\", <ž>".to_owned()) };
    full.subject = format!("Ke schválení: {} 🚀", "přístup na firewall ".repeat(10));
    full.text.clone_from(&text);
    full.html = Some(format!("<p>{}</p>", "ž &lt;b&gt; ".repeat(300)));
    let mut plain = mail(2, "john");
    (plain.html, plain.thread) = (None, None);
    post.queue(&[full.clone(), plain.clone()]).await?;
    let running = Running::start(&post.store, options(&smtp.url()))?;
    let mails = smtp.takes(2).await?;
    running.stop().await?;

    let found = |address: &str| mails.iter().find(|mail| mail.to == [address]).expect("a mail for them");
    let got = found("anna@example.com");
    assert_eq!(got.defects, Vec::<String>::new());
    assert!(got.ascii && got.longest <= 998, "goes through every server: {}", got.longest);
    assert_eq!(got.from, "quorate@example.com");
    assert_eq!(got.header("From"), "Quorate <quorate@example.com>");
    assert_eq!(got.header("To"), "\"Anna \\\"K\\\", <ž>\" <anna@example.com>");
    assert_eq!(got.header("Subject"), full.subject);
    assert_eq!(got.header("Message-ID"), format!("<{}@quorate.example.com>", full.id));
    for header in ["In-Reply-To", "References"] {
        assert_eq!(got.header(header), "<0b9c6b1e-37a1-4d3c-9f4c-3a6d9d1c7a55@quorate.example.com>");
    }
    assert_eq!(got.header("Auto-Submitted"), "auto-generated");
    assert_eq!(got.header("X-Auto-Response-Suppress"), "All");
    assert!(got.has("Date"));
    assert_eq!(got.content_type, "multipart/alternative");
    let types: Vec<&str> = got.parts.iter().map(|part| part.content_type.as_str()).collect();
    assert_eq!(types, ["text/plain", "text/html"]);
    assert_eq!(got.parts[0].text.replace("\r\n", "\n"), text);
    assert_eq!(Some(&got.parts[1].text), full.html.as_ref());

    let got = found("john@example.com");
    assert_eq!((got.content_type.as_str(), got.parts.len()), ("text/plain", 1));
    assert_eq!(got.parts[0].text.trim_end(), plain.text.trim_end());
    assert!(!got.has("References") && !got.has("In-Reply-To"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_39_hostile_names_and_subjects_stay_in_their_headers() -> Result<()> {
    let smtp = Smtp::start(&[]).await?;
    let post = Post::open().await?;
    let ends = ["\r\n", "\n", "\r", "\0", "\u{85}", "\u{2028}", "\u{2029}", "\u{b}", "\r\n ", "\r\n\r\n"];
    let mut messages = Vec::new();
    for (number, end) in ends.iter().enumerate() {
        let mut message = mail(number, "mary");
        let hostile = format!("Hello{end}Bcc: everybody@example.com{end}{end}<b>injected</b>");
        message.subject.clone_from(&hostile);
        message.thread = Some(format!("uid{end}Bcc: everybody@example.com"));
        message.to = Destination::Mail { address: "mary@example.com".to_owned(), name: Some(hostile) };
        messages.push(message);
    }
    let mut to = mail(ends.len(), "john");
    to.to = Destination::Mail { address: "john@example.com\r\nRCPT TO:<x@example.com>".to_owned(), name: None };
    messages.push(to);
    post.queue(&messages).await?;
    let mut running = Running::start(&post.store, options(&smtp.url()))?;
    let mails = smtp.takes(ends.len()).await?;
    running.done(&post.store).await?;
    let set_aside = running.told.set_aside();
    running.stop().await?;

    for got in &mails {
        assert_eq!(got.to, ["mary@example.com"]);
        assert_eq!(got.defects, Vec::<String>::new());
        let mut names = got.names();
        names.sort_unstable();
        let expected = [
            "Auto-Submitted",
            "Content-Type",
            "Date",
            "From",
            "In-Reply-To",
            "MIME-Version",
            "Message-ID",
            "References",
            "Subject",
            "To",
            "X-Auto-Response-Suppress",
        ];
        assert_eq!(names, expected);
        assert!(got.header("Subject").starts_with("Hello"), "{}", got.header("Subject"));
        assert!(got.parts.iter().all(|part| !part.text.contains("injected")), "{:?}", got.parts);
    }
    assert_eq!(set_aside.len(), 1);
    assert!(set_aside[0].reason.contains("is no mail address"), "{}", set_aside[0].reason);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r41_tls_and_password_in_both_ways() -> Result<()> {
    let certificate = Certificate::create()?;
    let (chain, key) = (certificate.certificate(), certificate.key());
    let login = ["--certificate", &chain, "--key", &key, "--user", "quorate", "--password", "p@ss word"];
    for (implicit, scheme) in [(false, "smtp"), (true, "smtps")] {
        let mut faults = login.to_vec();
        if implicit {
            faults.push("--implicit");
        }
        let smtp = Smtp::start(&faults).await?;
        let post = Post::open().await?;
        post.queue(&[mail(1, "mary")]).await?;
        let url = |password: &str| format!("{scheme}://quorate:{password}@127.0.0.1:{}", smtp.port);
        let trusting = |url: String| Options { ca_file: Some(certificate.authority()), ..options(&url) };

        for (options, why) in [
            (trusting(url("wrong")), "535"),
            // No authority of the system has signed it.
            (options(&url("p%40ss%20word")), "certificate"),
        ] {
            let mut running = Running::start(&post.store, options)?;
            let health = running
                .health(why, |health| matches!(&health.mail, Reach::Down { why: told, .. } if told.contains(why)))
                .await?;
            assert!(!format!("{health:?}").contains("word"), "{health:?}");
            running.stop().await?;
        }
        let waiting = post.store.waiting("mail", None, 9).await?;
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].attempts, 0, "what is wrong with the server counts against no message");

        let mut running = Running::start(&post.store, trusting(url("p%40ss%20word")))?;
        let mails = smtp.takes(1).await?;
        assert!(mails[0].tls);
        assert_eq!(mails[0].user.as_deref(), Some("quorate"));
        running.health("the server is up", |health| health.mail == Reach::Up && health.census.queued == 0).await?;
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_in_the_clear_where_tls_is_required() -> Result<()> {
    let smtp = Smtp::start(&[]).await?;
    let post = Post::open().await?;
    post.queue(&[mail(1, "mary")]).await?;
    let required = options(&format!("smtp://127.0.0.1:{}?tls=required", smtp.port));
    let mut running = Running::start(&post.store, required)?;
    let down = |health: &quorate::delivery::Health| matches!(&health.mail, Reach::Down { why, .. } if why.contains("STARTTLS is not supported"));
    running.health("the server has no TLS", down).await?;
    running.stop().await?;
    assert!(smtp.mails().is_empty());

    let opportunistic = options(&format!("smtp://127.0.0.1:{}", smtp.port));
    let running = Running::start(&post.store, opportunistic)?;
    assert!(!smtp.takes(1).await?[0].tls);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_are_those_that_the_public_key_proves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("dkim.pem");
    let openssl = async |arguments: &[&str]| -> Result<Vec<u8>> {
        let output = tokio::process::Command::new("openssl").args(arguments).output().await?;
        anyhow::ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let path = key.display().to_string();
    openssl(&["genrsa", "-traditional", "-out", &path, "2048"]).await?;
    let public = openssl(&["rsa", "-in", &path, "-pubout", "-outform", "DER"]).await?;
    let public = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, public);
    let smtp = Smtp::start(&["--dkim", &format!("v=DKIM1; k=rsa; p={public}")]).await?;
    let post = Post::open().await?;
    let mut message = mail(1, "mary");
    message.subject = "Žádost o přístup".repeat(20);
    post.queue(&[message]).await?;
    let dkim = Dkim { key_file: key, selector: "quorate".to_owned(), domain: "example.com".to_owned() };
    let running = Running::start(&post.store, Options { dkim: Some(dkim), ..options(&smtp.url()) })?;
    let mails = smtp.takes(1).await?;
    assert!(mails[0].header("DKIM-Signature").contains("d=example.com"));
    assert_eq!(mails[0].verified, Some(true));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_mails_wait_until_there_is_one() -> Result<()> {
    let post = Post::open().await?;
    post.queue(&[mail(1, "mary"), mail(2, "john")]).await?;
    let mut running = Running::start(&post.store, Options { url: None, ..options("") })?;
    let waits = |health: &quorate::delivery::Health| health.mail == Reach::NoServer && health.census.queued == 2;
    running.health("two mails wait", waits).await?;
    running.stop().await?;
    let smtp = Smtp::start(&[]).await?;
    let running = Running::start(&post.store, options(&smtp.url()))?;
    smtp.takes(2).await?;
    running.stop().await
}
