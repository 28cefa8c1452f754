/** What several parts of a policy file are made of. */
import { z } from 'zod';
import { DURATION } from './duration.ts';

export const id: z.ZodString = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be 1 to 64 letters, digits, dots, dashes and underscores')
  .describe('Stands in every decision and audit entry. Unique among rules and roles.');

export const workloadPatterns: z.ZodArray<z.ZodString> = z
  .array(z.string().min(1).max(2048))
  .min(1)
  .max(256)
  .describe('SPIFFE IDs. `*` is exactly one path segment, `**` any number. The trust domain is literal.');

export const keyPatterns: z.ZodArray<z.ZodString> = z
  .array(z.string().min(1).max(128))
  .min(1)
  .max(256)
  .describe(
    'Key names. `*` is exactly one segment, `**` any number. Keys under `lastmile/` cannot be named.',
  );

export const duration: z.ZodString = z
  .string()
  .regex(DURATION, 'is not a duration such as 10s, 15m, 8h or 30d');
