//! A load process, as the one that gives the orders sees it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::load::{Amiss, Answer, Command, Connect, Connected, Mix, Mixed, Posted, Resumed, Stream};
use crate::process;

/// Ends with the value.
pub(crate) struct Load {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Load {
    /// Starts one, on `core` if that is given.
    pub(crate) fn start(core: Option<usize>) -> Result<Self> {
        let mut program = Program::new(std::env::current_exe()?);
        program.arg("load");
        if let Some(core) = core {
            program.args(["--core", &core.to_string()]);
        }
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("a load process has an output")?);
        Ok(Self { child, input, output })
    }

    pub(crate) fn processor_seconds(&self) -> Result<f64> {
        process::processor_seconds(self.child.id())
    }

    pub(crate) fn connect(&mut self, connect: Connect) -> Result<Connected> {
        match self.ask(&Command::Connect(connect))? {
            Answer::Connected(connected) => Ok(connected),
            other => bail!("not an answer to connect: {other:?}"),
        }
    }

    pub(crate) fn post(&mut self, streams: Vec<Stream>, text_bytes: usize) -> Result<Posted> {
        match self.ask(&Command::Post { streams, text_bytes })? {
            Answer::Posted(posted) => Ok(posted),
            other => bail!("not an answer to post: {other:?}"),
        }
    }

    pub(crate) fn cut(&mut self, clients: Range<usize>) -> Result<()> {
        self.ask(&Command::Cut { clients }).map(drop)
    }

    pub(crate) fn open(&mut self, clients: Range<usize>) -> Result<()> {
        self.ask(&Command::Open { clients }).map(drop)
    }

    pub(crate) fn stall(&mut self, clients: Range<usize>) -> Result<()> {
        self.ask(&Command::Stall { clients }).map(drop)
    }

    pub(crate) fn resume(&mut self) -> Result<Resumed> {
        match self.ask(&Command::Resume)? {
            Answer::Resumed(resumed) => Ok(resumed),
            other => bail!("not an answer to resume: {other:?}"),
        }
    }

    pub(crate) fn mix(&mut self, mix: Mix) -> Result<Mixed> {
        match self.ask(&Command::Mix(mix))? {
            Answer::Mixed(mixed) => Ok(mixed),
            other => bail!("not an answer to mix: {other:?}"),
        }
    }

    pub(crate) fn check(&mut self) -> Result<Amiss> {
        match self.ask(&Command::Check)? {
            Answer::Checked(amiss) => Ok(amiss),
            other => bail!("not an answer to check: {other:?}"),
        }
    }

    fn ask(&mut self, command: &Command) -> Result<Answer> {
        let input = self.input.as_mut().context("a load process has an input")?;
        writeln!(input, "{}", serde_json::to_string(command)?)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        match serde_json::from_str(&line).context("the load process has ended")? {
            Answer::Failed(why) => bail!("{why}"),
            answer => Ok(answer),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.input = None;
        // It ends at the end of its input, within a moment; nothing can be done about one that does not.
        drop(self.child.wait());
    }
}
