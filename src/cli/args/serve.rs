//! What can be typed after `haq serve`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Serialize;

/// Every flag but the first two is a key of the configuration file; ranges are checked where
/// file and environment are.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct ServeArgs {
    /// Configuration (TOML); ./haq-serve.toml where absent, if it is there. Each of its keys is
    /// also a variable of the environment (HAQ_SERVE_LISTEN) and a flag here, which wins
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Print the configuration that holds, with where each value was set, and stop
    #[arg(long)]
    #[serde(skip)]
    pub print_config: bool,
    /// Address and port, 127.0.0.1:8080 where absent; any but loopback asks clients for a token
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Folder for uploads and exports; haq-serve where absent
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    state_folder: Option<String>,
    /// Folder whose networks a search may name; repeatable
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    model_folders: Option<Vec<String>>,
    /// Folder whose images a search may name; repeatable
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    data_folders: Option<Vec<String>>,
    /// Searches that run at the same time; 1 where absent
    #[arg(long, value_name = "N")]
    searches: Option<i64>,
    /// Worker threads of each search; its share of the cores where absent
    #[arg(long, value_name = "N")]
    threads: Option<i64>,
    /// cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Let workers judge that take their work from this queue: nats://HOST[:4222][/FLEET]
    #[arg(long, value_name = "URL|FILE")]
    queue: Option<String>,
    /// Where networks and images go for these workers: s3://BUCKET/PREFIX, or a folder that all of
    /// them see; with the queue where absent
    #[arg(long, value_name = "URL|FOLDER", value_hint = ValueHint::DirPath)]
    blobs: Option<String>,
    /// How long running searches may take to stop once the service is told to; 20 where absent
    #[arg(long, value_name = "SECONDS")]
    grace_s: Option<i64>,
    /// Tries after which a search that kills its process is set aside; 3 where absent
    #[arg(long, value_name = "N")]
    crash_limit: Option<i64>,
    /// Largest file that can be uploaded; 2 GiB where absent
    #[arg(long, value_name = "BYTES")]
    upload_bytes_max: Option<i64>,
    /// Largest body of any other request; 1 MiB where absent
    #[arg(long, value_name = "BYTES")]
    body_bytes_max: Option<i64>,
    /// How long a request may take; 30 where absent
    #[arg(long, value_name = "SECONDS")]
    request_timeout_s: Option<i64>,
    /// Requests a client may send in the long run; 50 where absent
    #[arg(long, value_name = "N")]
    requests_per_s: Option<i64>,
    /// Requests a client may send at once after a pause; 200 where absent
    #[arg(long, value_name = "N")]
    requests_burst: Option<i64>,
    /// Ask for a token on loopback too, as behind a proxy that others reach it through
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    token_required: Option<bool>,
    /// Further host name that browsers may use for the service; repeatable
    #[arg(long, value_name = "HOST")]
    allowed_hosts: Option<Vec<String>>,
    /// Events kept of each search for clients that come back later; 100000 where absent
    #[arg(long, value_name = "N")]
    events_kept: Option<i64>,
}

impl ServeArgs {
    /// Key → value of what was typed, as a configuration file would have it.
    pub fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("text, numbers and lists of text are TOML")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        service::Settings,
    };

    fn typed(flags: &[&str]) -> ServeArgs {
        match Cli::try_parse_from(["haq", "serve"].iter().chain(flags)).unwrap().command {
            Command::Serve(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_setting_is_a_flag() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let flags: BTreeSet<String> =
            serve.get_arguments().map(|argument| argument.get_id().to_string()).collect();
        let settings = toml::Table::try_from(Settings::default()).unwrap();
        let mut expected: BTreeSet<String> = settings.keys().cloned().collect();
        expected.extend(["config", "print_config"].map(String::from));
        assert_eq!(flags, expected);
    }

    #[test]
    fn only_what_was_typed_is_in_the_table() {
        assert_eq!(typed(&["--print-config", "--config", "x.toml"]).table(), toml::Table::new());
        let args = typed(&["--searches", "2", "--model-folders", "a", "--model-folders", "b:c"]);
        let expected: toml::Table = "searches = 2\nmodel_folders = ['a', 'b:c']".parse().unwrap();
        assert_eq!(args.table(), expected);
    }
}
