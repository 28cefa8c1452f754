#!/usr/bin/env node
/**
 * The `lastmile` command. With the files in main/ the composition root: it knows everybody, and nobody imports it.
 */
import { type CliContext, CliError, EXIT } from './cli/context.ts';
import { runCli } from './cli/program.ts';

const context: CliContext = {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  cwd: process.cwd(),
  serve: async (configPath) => {
    const { serve } = await import('./main/serve.ts');
    await explained(() => serve(configPath, process.stdout));
  },
  profileIssues: async (bytes, file) => {
    const { profileIssuesOf } = await import('./main/profile-check.ts');
    return profileIssuesOf(bytes, file);
  },
  init: async (options) => {
    const [{ makeDevelopmentInstance }, { createLog }] = await Promise.all([
      import('./main/development.ts'),
      import('./telemetry/log.ts'),
    ]);
    const log = createLog();
    await explained(() =>
      makeDevelopmentInstance(
        options,
        (level, message, fields) => level === 'info' || log(level, message, fields),
      ),
    );
    process.stdout.write(`Instance ready in ${options.directory}\n`);
  },
  doctor: async (options) => {
    const { diagnose } = await import('./main/doctor.ts');
    return explained(() => diagnose(options));
  },
  acceptLog: async (configPath, reason) => {
    const { acceptLog } = await import('./main/accept-log.ts');
    return explained(() => acceptLog(configPath, reason));
  },
  demo: async (options) => {
    const { demonstrate } = await import('./main/demo.ts');
    await explained(() => demonstrate(options, process.stdout));
  },
};

// Whoever read what we print may go, as `head` does. Commands learn of it where they write; a broker serves on.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

/** What an operator can mend is told without a stack. */
async function explained<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const name = error instanceof Error ? error.name : '';
    if (
      [
        'ConfigError',
        'PolicyError',
        'InitError',
        'StateError',
        'GatewayError',
        'AuditError',
        'AcceptError',
      ].includes(name)
    ) {
      throw new CliError(
        name === 'ConfigError' || name === 'PolicyError' ? EXIT.usage : EXIT.failed,
        (error as Error).message,
        { cause: error },
      );
    }
    throw error;
  }
}

process.exitCode = await runCli(context, process.argv.slice(2));
