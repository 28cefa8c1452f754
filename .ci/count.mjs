// Reads vitest's JSON report: prints "passed failed skipped". Arguments: the report, vitest's exit code.
import { readFileSync } from 'node:fs';

const [path = '', code = '1'] = process.argv.slice(2);
let report;
try {
  report = JSON.parse(readFileSync(path, 'utf8'));
} catch (error) {
  process.stderr.write(`ci: no report: ${error instanceof Error ? error.message : error}\n`);
  process.stdout.write('0 1 0\n');
  process.exit();
}
const passed = report.numPassedTests;
// A file that could not be loaded, or whose hooks failed, is one failure although none of its tests failed.
const broken = report.testResults.filter(
  (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
).length;
let failed = report.numFailedTests + broken;
if (failed === 0 && (code !== '0' || report.success !== true)) failed = 1;
const skipped = report.numPendingTests + report.numTodoTests;
process.stdout.write(`${passed} ${failed} ${skipped}\n`);
