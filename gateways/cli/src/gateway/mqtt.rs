//! `multiplane gateway mqtt`: the bus and an MQTT broker.

use super::{run_to_the_end, tell};
use crate::failure::Failure;
use crate::links::Links;
use crate::shutdown::Shutdown;
use multiplane_mqtt::{
    Config, Credentials, FromMqtt, Gateway, Mapping, StartError, Tls, ToMqtt, Version, start,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

const USER: &str = "MULTIPLANE_MQTT_USER";
const PASSWORD: &str = "MULTIPLANE_MQTT_PASSWORD";

/// Link an MQTT broker with the bus
///
/// What is published on the bus topics of -g goes to the MQTT topic of -i, and what arrives on the MQTT topics of -j to
/// the bus topic of -e; bodies are JSON there and MessagePack here. Other ways, topics and forms are mapped with --out
/// and --in, or in a TOML file; the defaults of -e -g -i -j hold as long as nothing is mapped so.
///
/// Takes the flags of Python Banyan's `mgw`. A broker that is not there, or goes, is tried again and again; what waits
/// for it is kept up to --queue messages. Ends on Ctrl-C, and then says on standard error what passed and what was lost.
///
/// A user and a password are read from --credentials, or from the environment variables MULTIPLANE_MQTT_USER and
/// MULTIPLANE_MQTT_PASSWORD, never from the command line, which every user of the machine can see.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane gateway mqtt                                  as Python Banyan's mgw, with a broker on this machine
  multiplane gateway mqtt -a 10.0.0.2 -g report alarm -i plant/7
  multiplane gateway mqtt --out 'sensor/=home/{rest},retain' --in 'home/+/set=set:{topic},qos=1'
  multiplane gateway mqtt --mapping mqtt.toml --routing spec.csv --credentials user.txt

A mapping file has tables with the same words:
  [[to_mqtt]]
  topic = \"sensor/\"
  mqtt = \"home/{rest}\"
  retain = true
  [[from_mqtt]]
  filter = \"home/+/set\"
  topic = \"set:{topic}\"
  qos = 1
  body = \"json\"")]
pub(crate) struct Args {
    /// The address of the broker
    #[arg(short = 'a', long, value_name = "HOST", default_value = "localhost")]
    mqtt_address: String,

    /// The port of the broker [default: 1883, with TLS 8883]
    #[arg(short = 'd', long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    mqtt_port: Option<u16>,

    /// The bus topic of what arrives on the topics of -j [default: from_mqtt]
    #[arg(short = 'e', long, value_name = "TOPIC")]
    bus_topic: Option<String>,

    /// Bus topics that go to the broker: each stands for all that begin with it [default: to_mqtt]
    #[arg(short = 'g', long, value_name = "TOPIC", num_args = 1..)]
    bus_topics: Vec<String>,

    /// The MQTT topic of what comes from the topics of -g [default: from_banyan]
    #[arg(short = 'i', long, value_name = "TOPIC")]
    mqtt_topic: Option<String>,

    /// MQTT topics that go to the bus, wildcards allowed [default: mqtt_network]
    #[arg(short = 'j', long, value_name = "TOPIC", num_args = 1..)]
    mqtt_topics: Vec<String>,

    /// A way from the bus to the broker, repeatable
    ///
    /// In the MQTT topic {topic} stands for the whole topic on the bus, and {rest} for what follows the first TOPIC.
    #[arg(long, value_name = "TOPIC=MQTT_TOPIC[,qos=1][,retain][,body=json|msgpack|raw][,backplane=NAME]")]
    out: Vec<String>,

    /// A way from the broker to the bus, repeatable
    ///
    /// In the bus topic {topic} stands for the whole MQTT topic, and {rest} for what `#` stands for.
    #[arg(long = "in", value_name = "FILTER=TOPIC[,qos=1][,body=json|msgpack|raw][,backplane=NAME]")]
    into: Vec<String>,

    /// A TOML file with such ways
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,

    /// The version of MQTT
    #[arg(long, value_name = "VERSION", default_value = "3.1.1", value_parser = ["3.1.1", "5"])]
    mqtt_version: String,

    /// A name for which the broker keeps messages of quality 1 while the gateway is away
    #[arg(long, value_name = "NAME")]
    client_id: Option<String>,

    /// A file with the user in its first line and the password in its second
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,

    /// Encrypt, and let the broker prove its name by an authority that this system trusts
    #[arg(long)]
    tls: bool,

    /// As --tls, by an authority whose certificate is in this PEM file
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Ask a silent broker whether it is there after so many seconds
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    keep_alive: u16,

    /// Messages that wait for a broker that is away or slow; beyond, the oldest make way
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    queue: u32,

    /// The name of this component
    #[arg(short, long, default_value = "MqttGateway")]
    name: String,

    /// Accepted for Python Banyan's command lines, and ignored: nothing here sleeps between two looks
    #[arg(short = 't', long = "loop-time", value_name = "SECONDS")]
    _loop_time: Option<String>,

    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(args: Args, shutdown: &Shutdown) -> Result<(), Failure> {
    let component = args.links.component(&args.name)?.routing(args.links.both()?);
    let config = Config {
        version: if args.mqtt_version == "5" { Version::V5 } else { Version::V3 },
        client_id: args.client_id.clone(),
        credentials: credentials(args.credentials.as_deref())?,
        tls: encrypted(&args).then(|| Tls { authority: args.tls_ca.clone() }),
        keep_alive: Duration::from_secs(args.keep_alive.into()),
        queue: args.queue as usize,
        ..Config::new(&broker(&args), mapping(&args)?)
    };
    let running = start(component, config, |event| tell(event)).map_err(|error| match error {
        StartError::Mapping(_) | StartError::Backplane(_) | StartError::Tls(_) => {
            Failure::Misuse(error.to_string())
        }
        _ => Failure::Failed(error.to_string()),
    })?;
    run_to_the_end(running, shutdown, Gateway::bus_ended, Gateway::close)
}

fn encrypted(args: &Args) -> bool {
    args.tls || args.tls_ca.is_some()
}

fn broker(args: &Args) -> String {
    let host = &args.mqtt_address;
    let port = args.mqtt_port.unwrap_or(if encrypted(args) { 8883 } else { 1883 });
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn mapping(args: &Args) -> Result<Mapping, Failure> {
    let misuse = |error: multiplane_mqtt::MappingError| Failure::Misuse(error.to_string());
    let mut mapping = match &args.mapping {
        Some(file) => Mapping::from_path(file).map_err(misuse)?,
        None => Mapping::default(),
    };
    for text in &args.out {
        mapping.to_mqtt.push(ToMqtt::parse(text).map_err(misuse)?);
    }
    for text in &args.into {
        mapping.from_mqtt.push(FromMqtt::parse(text).map_err(misuse)?);
    }
    let mapped = mapping != Mapping::default();
    let or = |topics: &[String], default: &str, asked: bool| match topics {
        [] if mapped && !asked => Vec::new(),
        [] => vec![default.to_owned()],
        topics => topics.to_vec(),
    };
    let target = args.mqtt_topic.as_deref().unwrap_or("from_banyan");
    for topic in or(&args.bus_topics, "to_mqtt", args.mqtt_topic.is_some()) {
        mapping.to_mqtt.push(ToMqtt::new(&topic, target));
    }
    let target = args.bus_topic.as_deref().unwrap_or("from_mqtt");
    for filter in or(&args.mqtt_topics, "mqtt_network", args.bus_topic.is_some()) {
        mapping.from_mqtt.push(FromMqtt::new(&filter, target));
    }
    Ok(mapping)
}

fn credentials(file: Option<&Path>) -> Result<Option<Credentials>, Failure> {
    let Some(file) = file else {
        return match (std::env::var(USER), std::env::var(PASSWORD)) {
            (Ok(user), Ok(password)) => Ok(Some(Credentials { user, password })),
            (Err(_), Err(_)) => Ok(None),
            _ => Err(Failure::Misuse(format!("of {USER} and {PASSWORD} only one is set; set both or none"))),
        };
    };
    let wrong = |why: String| Failure::Misuse(format!("--credentials {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(user), Some(password)) => {
            Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }))
        }
        _ => Err(wrong("its first line is the user and its second the password; it has fewer".to_owned())),
    }
}
