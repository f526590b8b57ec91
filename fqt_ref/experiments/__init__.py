# SPDX-License-Identifier: Apache-2.0
"""The paper's figures and tables as descriptions that expand to runs: performed once each, kept in a store, shown in a report."""
