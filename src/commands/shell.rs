//! `authcli completions` and `authcli man`: what the shell and its manual know of the program, made from what can be
//! typed, so that neither can be out of date.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::{Cli, ManArgs};
use crate::outcome::{Exit, Usage};
use crate::ui::Printer;

/// Prints the completions for `shell`.
pub(crate) async fn completions(printer: &Printer, shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "authcli", &mut script);
    printer.bytes(&script).await?;
    Ok(Exit::Done)
}

/// Prints one page of the manual, or writes all of them.
pub(crate) async fn man(printer: &Printer, args: ManArgs) -> anyhow::Result<Exit> {
    let mut root = without_help(Cli::command());
    // Every command gets the global options, and its full name.
    root.build();
    if let Some(directory) = args.directory {
        let count = write_all(root, &directory)?;
        printer.note(&format!("Wrote {count} pages to {}", directory.display()));
        return Ok(Exit::Done);
    }
    let mut command = &root;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            Usage::with_hint(format!("there is no command `{}`", args.command.join(" ")), "`authcli --help` lists them")
        })?;
    }
    printer.bytes(&page(command)?).await?;
    Ok(Exit::Done)
}

fn write_all(command: clap::Command, directory: &Path) -> anyhow::Result<usize> {
    let could_not = || format!("could not write the pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(could_not)?;
    let mut pending = vec![command];
    let mut count = 0;
    while let Some(command) = pending.pop() {
        std::fs::write(directory.join(format!("{}.1", file_stem(&command))), page(&command)?)
            .with_context(could_not)?;
        count += 1;
        pending.extend(command.get_subcommands().cloned());
    }
    Ok(count)
}

/// The manual is what the `help` command of each command with others would repeat.
fn without_help(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn file_stem(command: &clap::Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // Written by hand: the library leaves out an empty date, and what follows would take its place. A page that is made by
    // the program has no date of its own, and must be the same whenever it is made.
    let (title, version) = (file_stem(command).to_uppercase(), env!("CARGO_PKG_VERSION"));
    text.extend(format!(".TH \"{title}\" \"1\" \"\" \"authcli {version}\" \"authcli manual\"\n").bytes());
    let page = Man::new(command.clone());
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(help) = command.get_after_help() {
        examples(&help.to_string()).to_writer(&mut text)?;
    }
    // Between an option and its possible values the library breaks the line twice, where a space is meant; and an ellipsis
    // is more than a terminal of plain ASCII can show.
    Ok(String::from_utf8_lossy(&text).replace("\n.br\n\n.br\n", "\n.sp\n").replace('…', "...").into_bytes())
}

/// Sets what stands below the options as it is there: a heading, then lines that are not to be filled.
fn examples(help: &str) -> Roff {
    let mut roff = Roff::new();
    for part in help.split("\n\n") {
        let (heading, lines) = match part.split_once(":\n") {
            Some((heading, lines)) => (heading, lines),
            None => ("Notes", part),
        };
        roff.control("SH", [heading.to_uppercase().as_str()]);
        if heading == "Notes" {
            roff.text([roman(lines)]);
            continue;
        }
        roff.control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
    roff
}
