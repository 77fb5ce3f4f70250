//! `haq token`: who may use `haq serve` from other machines.

use serde_json::json;

use crate::{
    cli::{
        args::{Global, TokenCommand, TokenCreateArgs, TokenScope},
        exit::{Ending, UsageError},
        output,
        session::{open_store, read_store},
    },
    service::new_secret,
    store::Scope,
};

pub fn run(global: &Global, command: &TokenCommand) -> anyhow::Result<Ending> {
    match command {
        TokenCommand::Create(args) => create(global, args)?,
        TokenCommand::List => list(global)?,
        TokenCommand::Revoke(args) => {
            open_store(global)?.revoke_token(&args.name)?;
            output::note(global, format!("token {} is refused from now on", args.name));
        }
    }
    Ok(Ending::Done)
}

fn create(global: &Global, args: &TokenCreateArgs) -> anyhow::Result<()> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.@".contains(c);
    if args.name.is_empty() || args.name.len() > 64 || !args.name.chars().all(is_plain) {
        let told = format!(
            "{:?} is no name for a token: 1 to 64 letters, digits, '-', '_', '.' and '@'",
            args.name
        );
        return Err(UsageError(told).into());
    }
    if args.name == "local" {
        let told = "local is what those are called who need no token; choose another name";
        return Err(UsageError(told.into()).into());
    }
    let scope = match args.scope {
        TokenScope::Read => Scope::Read,
        TokenScope::Write => Scope::Write,
    };
    let token = new_secret("token");
    open_store(global)?.add_token(&args.name, scope, &token)?;
    if global.json {
        return output::print_json(&json!({
            "schema": output::SCHEMA, "name": args.name, "scope": scope, "token": token,
        }));
    }
    output::note(global, "this is the only time the token is shown; clients send it as");
    output::note(global, "Authorization: Bearer TOKEN, haq as --token or HAQ_TOKEN");
    output::print(&token)
}

fn list(global: &Global) -> anyhow::Result<()> {
    let tokens = read_store(global)?.tokens()?;
    if global.json {
        return output::print_json(&json!({ "schema": output::SCHEMA, "tokens": tokens }));
    }
    let mut table = output::plain_table(&["name", "scope", "made", "revoked"], &[]);
    for token in tokens {
        let revoked = token.revoked_at.unwrap_or_else(|| "–".into());
        table.add_row([token.name, token.scope.word().into(), token.created_at, revoked]);
    }
    output::print(&table.trim_fmt())
}
