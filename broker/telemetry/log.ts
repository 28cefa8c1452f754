import { pino } from 'pino';

export type LogLevel = 'info' | 'warn' | 'error';
/** Constant message, fields beside it: what varies is never part of the text. */
export type Log = (level: LogLevel, message: string, fields?: Record<string, string | number>) => void;

/**
 * The operator's log: JSON lines on standard error. It is not the audit trail, and nothing in it is a record.
 * Names under which a secret could come by mistake are cut out here, at the one place that writes.
 */
export function createLog(): Log {
  const logger = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      redact: {
        paths: ['pin', 'soPin', 'password', 'key.pem', 'token.pin', 'privateKey', 'plaintext'],
        censor: '[cut]',
      },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  return (level, message, fields) => logger[level](fields ?? {}, message);
}
