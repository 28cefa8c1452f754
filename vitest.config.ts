import { defineConfig } from 'vitest/config';

// Three sets: `unit` (beside the source) and `integration` (processes and SoftHSM2) are what `npm test`
// runs; `all` is what needs more than SoftHSM2 and is installed by `npm run test:all`.
const shared = {
  pool: 'forks' as const,
  passWithNoTests: false,
  testTimeout: 60_000,
  hookTimeout: 120_000,
};

export default defineConfig({
  resolve: { conditions: ['lastmile-source'] },
  ssr: { resolve: { conditions: ['lastmile-source'] } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          ...shared,
          name: 'unit',
          include: [
            '{broker,policy,hsm-adapters,bench}/**/*.test.ts',
            'test/{property,fuzz,conformance}/**/*.test.ts',
          ],
        },
      },
      {
        extends: true,
        test: {
          ...shared,
          name: 'integration',
          include: ['test/{integration,fault}/**/*.test.ts'],
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: { ...shared, name: 'all', include: ['test/all/**/*.test.ts'], fileParallelism: false },
      },
    ],
  },
});
