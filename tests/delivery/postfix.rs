//! A full mail server once: postfix with STARTTLS and a password, which passes mail on to the one that reads it.

use crate::cluster::ports;
use crate::cluster::supervisor::Supervisor;
use crate::post::{Post, Running, mail, options};
use crate::servers::{Certificate, Smtp, eventually, folder};
use anyhow::{Context as _, Result, ensure};
use quorate::delivery::Reach;
use quorate::delivery::settings::Options;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Postfix {
    supervisor: Supervisor,
    configuration: PathBuf,
    port: u16,
}

impl Postfix {
    async fn start(certificate: &Certificate, next: u16) -> Result<Self> {
        let folder = folder("postfix")?;
        let port = ports::free()?.port();
        let configuration = folder.join("etc");
        for part in ["etc/sasl", "queue", "data"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let show = |path: &Path| path.display().to_string();
        let main = format!(
            "compatibility_level = 3.6\n\
             queue_directory = {queue}\n\
             data_directory = {data}\n\
             maillog_file = /dev/stdout\n\
             maillog_file_prefixes = /dev/stdout\n\
             inet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\n\
             myhostname = mail.example.com\n\
             mydestination =\n\
             alias_maps =\n\
             alias_database =\n\
             default_transport = smtp:[127.0.0.1]:{next}\n\
             relay_transport = smtp:[127.0.0.1]:{next}\n\
             smtp_dns_support_level = disabled\n\
             smtpd_tls_security_level = encrypt\n\
             smtpd_tls_cert_file = {certificate}\n\
             smtpd_tls_key_file = {key}\n\
             smtpd_sasl_auth_enable = yes\n\
             smtpd_sasl_type = cyrus\n\
             smtpd_sasl_path = smtpd\n\
             smtpd_sasl_local_domain = quorate\n\
             cyrus_sasl_config_path = {sasl}\n\
             smtpd_relay_restrictions = permit_sasl_authenticated, reject\n\
             smtpd_recipient_restrictions = check_recipient_access texthash:{access}, permit_sasl_authenticated, reject\n\
             max_idle = 1s\n",
            queue = show(&folder.join("queue")),
            data = show(&folder.join("data")),
            certificate = certificate.certificate(),
            key = certificate.key(),
            sasl = show(&configuration.join("sasl")),
            access = show(&configuration.join("access")),
        );
        std::fs::write(configuration.join("access"), "nobody@example.com 550 5.1.1 no such user\n")?;
        std::fs::write(configuration.join("main.cf"), main)?;
        // Nothing is in a jail: what it needs lies outside.
        let master = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\n\
             cleanup unix n - n - 0 cleanup\n\
             qmgr unix n - n 300 1 qmgr\n\
             tlsmgr unix - - n 1000? 1 tlsmgr\n\
             rewrite unix - - n - - trivial-rewrite\n\
             bounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\n\
             trace unix - - n - 0 bounce\n\
             verify unix - - n - 1 verify\n\
             proxymap unix - - n - - proxymap\n\
             smtp unix - - n - - smtp\n\
             error unix - - n - - error\n\
             retry unix - - n - - error\n\
             discard unix - - n - - discard\n\
             anvil unix - - n - 1 anvil\n\
             scache unix - - n - 1 scache\n\
             postlog unix-dgram n - n - 1 postlogd\n"
        );
        std::fs::write(configuration.join("master.cf"), master)?;
        let database = configuration.join("sasl/sasldb2");
        let sasl = format!(
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: {}\n",
            database.display()
        );
        std::fs::write(configuration.join("sasl/smtpd.conf"), sasl)?;
        set_password(&database)?;
        run("chown", &["postfix", &show(&folder.join("data")), &show(&database)])?;
        let mut supervisor = Supervisor::new(folder.clone())?;
        let argv = ["/usr/sbin/postfix", "-c", &show(&configuration), "start-fg"].map(str::to_owned);
        supervisor.start("postfix", &argv).await?;
        let started = Self { supervisor, configuration, port };
        eventually("postfix listens", async || {
            ensure!(started.supervisor.exit_status("postfix").is_none(), "postfix ended: {}", started.log());
            Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| ()))
        })
        .await?;
        Ok(started)
    }

    fn log(&self) -> String {
        self.supervisor.log_tail("postfix", 40)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Its helpers end with an orderly stop alone; the supervisor would kill their master first.
        let configuration = self.configuration.display().to_string();
        let _ = Command::new("/usr/sbin/postfix").args(["-c", &configuration, "stop"]).output();
    }
}

fn set_password(database: &Path) -> Result<()> {
    let mut child = Command::new("/usr/sbin/saslpasswd2")
        .args(["-p", "-c", "-u", "quorate", "-f", &database.display().to_string(), "operator"])
        .stdin(Stdio::piped())
        .spawn()
        .context("saslpasswd2 is missing: run tests/cluster/build.sh")?;
    child.stdin.take().context("its input")?.write_all(b"p@ss word\n")?;
    ensure!(child.wait()?.success(), "saslpasswd2 fails");
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r41_through_postfix_with_tls_and_password() -> Result<()> {
    // Postfix serves under several users, and so root alone can start it.
    if run("id", &["-u"])? != "0" {
        eprintln!("skipped: postfix needs root");
        return Ok(());
    }
    let certificate = Certificate::create()?;
    let reader = Smtp::start(&[]).await?;
    let postfix = Postfix::start(&certificate, reader.port).await?;
    let post = Post::open().await?;
    let (mut unicode, unknown) = (mail(1, "cilla"), mail(2, "nobody"));
    unicode.subject = "Ke schválení: přístup na firewall".to_owned();
    post.queue(&[unicode.clone(), unknown, mail(3, "mary")]).await?;
    let with = |password: &str| Options {
        ca_file: Some(certificate.authority()),
        ..options(&format!("smtp://operator%40quorate:{password}@127.0.0.1:{}?tls=required", postfix.port))
    };

    let mut running = Running::start(&post.store, with("wrong"))?;
    let refused = |health: &quorate::delivery::Health| {
        matches!(&health.mail, Reach::Down { why, .. } if why.contains("535")) && health.census.queued == 3
    };
    let asked = running.health("the password is refused", refused).await;
    asked.with_context(|| postfix.log())?;
    running.stop().await?;

    let mut running = Running::start(&post.store, with("p%40ss%20word"))?;
    let mails = reader.takes(2).await.with_context(|| postfix.log())?;
    let set_aside = |health: &quorate::delivery::Health| health.census.set_aside == 1 && health.census.queued == 0;
    let health = running.health("one has no mailbox", set_aside).await?;
    assert!(health.census.newest[0].reason.contains("no such user"), "{:?}", health.census.newest);
    running.stop().await?;
    let got = mails.iter().find(|mail| mail.to == ["cilla@example.com"]).context("a mail for cilla")?;
    assert_eq!(got.header("Subject"), unicode.subject);
    assert_eq!(got.header("Message-ID"), format!("<{}@quorate.example.com>", unicode.id));
    assert_eq!(got.parts[0].text.trim_end(), unicode.text.trim_end());
    assert!(got.header("Received").contains("ESMTPSA"), "by TLS and password: {}", got.header("Received"));
    assert_eq!(got.defects, Vec::<String>::new());
    Ok(())
}
