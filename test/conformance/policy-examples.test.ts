import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { checkPolicy } from '../../policy/check.ts';
import { formatSourceIssue } from '../../policy/source-issue.ts';

/** Whole policies in documentation: they begin with their version, and are no tests of one. */
const examples = ['policy/README.md', 'deploy/policy-guide.md'].flatMap((file) =>
  [
    ...readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').matchAll(
      /```yaml\n(version: 1\n.*?)```/gs,
    ),
  ]
    .filter(([, text = '']) => !/^cases:/m.test(text))
    .map(([, text = ''], i) => ({ name: `${file}, example ${i + 1}`, text })),
);

it('there are examples', () => expect(examples.length).toBeGreaterThanOrEqual(2));

it.each(examples)('$name is right', ({ text }) => {
  const { issues, warnings } = checkPolicy(new TextEncoder().encode(text), {
    now: Date.parse('2026-11-23T12:00:00Z'),
  });
  expect([...issues, ...warnings].map(formatSourceIssue)).toEqual([]);
});
