-- What rlprune 0.1 wrote before store schema 2: its tables as it made them, and eight cells. Do not renew.
PRAGMA journal_mode = WAL;
CREATE TABLE cells (
    id TEXT PRIMARY KEY, suite TEXT NOT NULL, profile TEXT NOT NULL, task TEXT NOT NULL, pruner TEXT NOT NULL, cut TEXT NOT NULL,
    sparsity REAL NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL, labels TEXT NOT NULL, status TEXT NOT NULL, error TEXT,
    started TEXT NOT NULL, ended TEXT NOT NULL, versions TEXT NOT NULL, machine TEXT NOT NULL
);
INSERT INTO "cells" VALUES('return_greedy-Dense-0','cartpole','quick','cartpole-v1','Dense','nothing',0.0,0,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 0}','{"suite_title": "CartPole (cartpole)", "task_title": "CartPole-v1", "metric": "return_greedy", "metric_title": "return (greedy games)", "better": "higher", "curve": "return_train", "curve_title": "return (training games)", "unit": "steps", "device": "cpu", "also_return_sampled": "return (sampled games)", "also_return_train": "return (last 100 training games)", "better_return_sampled": "higher", "better_return_train": "higher", "anchor_random": "22.0", "anchor_dense": "500.0"}','done',NULL,'2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
INSERT INTO "cells" VALUES('return_greedy-Dense-1','cartpole','quick','cartpole-v1','Dense','nothing',0.0,1,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 1}','{"suite_title": "CartPole (cartpole)", "task_title": "CartPole-v1", "metric": "return_greedy", "metric_title": "return (greedy games)", "better": "higher", "curve": "return_train", "curve_title": "return (training games)", "unit": "steps", "device": "cpu", "also_return_sampled": "return (sampled games)", "also_return_train": "return (last 100 training games)", "better_return_sampled": "higher", "better_return_train": "higher", "anchor_random": "22.0", "anchor_dense": "500.0"}','done',NULL,'2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
INSERT INTO "cells" VALUES('return_greedy-SNIP-0','cartpole','quick','cartpole-v1','SNIP','weights',0.9,0,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 0}','{"suite_title": "CartPole (cartpole)", "task_title": "CartPole-v1", "metric": "return_greedy", "metric_title": "return (greedy games)", "better": "higher", "curve": "return_train", "curve_title": "return (training games)", "unit": "steps", "device": "cpu", "also_return_sampled": "return (sampled games)", "also_return_train": "return (last 100 training games)", "better_return_sampled": "higher", "better_return_train": "higher", "anchor_random": "22.0", "anchor_dense": "500.0"}','done',NULL,'2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
INSERT INTO "cells" VALUES('return_greedy-SNIP-1','cartpole','quick','cartpole-v1','SNIP','weights',0.9,1,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 1}','{"suite_title": "CartPole (cartpole)", "task_title": "CartPole-v1", "metric": "return_greedy", "metric_title": "return (greedy games)", "better": "higher", "curve": "return_train", "curve_title": "return (training games)", "unit": "steps", "device": "cpu", "also_return_sampled": "return (sampled games)", "also_return_train": "return (last 100 training games)", "better_return_sampled": "higher", "better_return_train": "higher", "anchor_random": "22.0", "anchor_dense": "500.0"}','done',NULL,'2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
INSERT INTO "cells" VALUES('rmse-Dense-0','depth','quick','rooms-fcrn-small','Dense','nothing',0.0,0,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 0}','{"suite_title": "Depth (depth)", "task_title": "FCRN, rooms", "metric": "rmse", "metric_title": "RMSE (m)", "better": "lower", "curve": "loss_train", "curve_title": "training loss (reverse Huber)", "unit": "epochs", "device": "cpu", "folder": "/data", "data": "1f2e", "also_rel": "relative error", "also_delta1": "share of pixels within a factor of 1.25", "better_rel": "lower", "better_delta1": "higher", "anchor_random": "1.36"}','done',NULL,'2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
INSERT INTO "cells" VALUES('rmse-CroP-S-0','depth','quick','rooms-fcrn-small','CroP-S','channels',0.9,0,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 0}','{"suite_title": "Depth (depth)", "task_title": "FCRN, rooms", "metric": "rmse", "metric_title": "RMSE (m)", "better": "lower", "curve": "loss_train", "curve_title": "training loss (reverse Huber)", "unit": "epochs", "device": "cpu", "folder": "/data", "data": "1f2e", "also_rel": "relative error", "also_delta1": "share of pixels within a factor of 1.25", "better_rel": "lower", "better_delta1": "higher", "anchor_random": "1.36"}','done',NULL,'2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
INSERT INTO "cells" VALUES('rmse-SNIP-0','depth','quick','rooms-fcrn-small','SNIP','weights',0.9,0,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 0}','{"suite_title": "Depth (depth)", "task_title": "FCRN, rooms", "metric": "rmse", "metric_title": "RMSE (m)", "better": "lower", "curve": "loss_train", "curve_title": "training loss (reverse Huber)", "unit": "epochs", "device": "cpu", "folder": "/data", "data": "1f2e", "also_rel": "relative error", "also_delta1": "share of pixels within a factor of 1.25", "better_rel": "lower", "better_delta1": "higher", "anchor_random": "1.36"}','failed','ValueError: why','2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
INSERT INTO "cells" VALUES('rmse-SynFlow-0','depth','quick','rooms-fcrn-small','SynFlow','weights',0.9,0,'{"recipe": {"budget": 500000}, "settings": {"floor": 1}, "seed": 0}','{"suite_title": "Depth (depth)", "task_title": "FCRN, rooms", "metric": "rmse", "metric_title": "RMSE (m)", "better": "lower", "curve": "loss_train", "curve_title": "training loss (reverse Huber)", "unit": "epochs", "device": "cpu", "folder": "/data", "data": "1f2e", "also_rel": "relative error", "also_delta1": "share of pixels within a factor of 1.25", "better_rel": "lower", "better_delta1": "higher", "anchor_random": "1.36"}','skipped','needs what is not there','2026-11-21T10:00:00+00:00','2026-11-21T10:02:00+00:00','{"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"}','{"cpu": "AMD EPYC 7763", "cores": "2", "memory_method": "process peak", "energy_method": "estimate, 4 W a busy thread"}');
CREATE TABLE epochs (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, number INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (cell, number, name)
);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',1,'trained',1.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',1,'epoch',1.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',1,'samples',100.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',1,'return_train',250.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',2,'trained',2.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',2,'epoch',2.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',2,'samples',200.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-0',2,'return_train',250.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',1,'trained',1.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',1,'epoch',1.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',1,'samples',100.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',1,'return_train',240.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',2,'trained',2.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',2,'epoch',2.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',2,'samples',200.0);
INSERT INTO "epochs" VALUES('return_greedy-Dense-1',2,'return_train',240.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',1,'trained',1.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',1,'epoch',1.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',1,'samples',100.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',1,'return_train',150.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',2,'trained',2.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',2,'epoch',2.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',2,'samples',200.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-0',2,'return_train',150.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',1,'trained',1.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',1,'epoch',1.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',1,'samples',100.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',1,'return_train',175.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',2,'trained',2.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',2,'epoch',2.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',2,'samples',200.0);
INSERT INTO "epochs" VALUES('return_greedy-SNIP-1',2,'return_train',175.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',1,'trained',1.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',1,'epoch',1.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',1,'samples',100.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',1,'loss_train',1.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',2,'trained',2.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',2,'epoch',2.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',2,'samples',200.0);
INSERT INTO "epochs" VALUES('rmse-Dense-0',2,'loss_train',1.0);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',1,'trained',1.0);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',1,'epoch',1.0);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',1,'samples',100.0);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',1,'loss_train',1.5);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',2,'trained',2.0);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',2,'epoch',2.0);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',2,'samples',200.0);
INSERT INTO "epochs" VALUES('rmse-CroP-S-0',2,'loss_train',1.5);
CREATE TABLE layers (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, layer TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (cell, layer, name)
);
INSERT INTO "layers" VALUES('return_greedy-Dense-0','a.weight','kept',3.0);
INSERT INTO "layers" VALUES('return_greedy-Dense-0','a.weight','dense',4.0);
INSERT INTO "layers" VALUES('return_greedy-Dense-1','a.weight','kept',3.0);
INSERT INTO "layers" VALUES('return_greedy-Dense-1','a.weight','dense',4.0);
INSERT INTO "layers" VALUES('return_greedy-SNIP-0','a.weight','kept',3.0);
INSERT INTO "layers" VALUES('return_greedy-SNIP-0','a.weight','dense',4.0);
INSERT INTO "layers" VALUES('return_greedy-SNIP-1','a.weight','kept',3.0);
INSERT INTO "layers" VALUES('return_greedy-SNIP-1','a.weight','dense',4.0);
INSERT INTO "layers" VALUES('rmse-Dense-0','a.weight','kept',3.0);
INSERT INTO "layers" VALUES('rmse-Dense-0','a.weight','dense',4.0);
INSERT INTO "layers" VALUES('rmse-CroP-S-0','a.weight','kept',3.0);
INSERT INTO "layers" VALUES('rmse-CroP-S-0','a.weight','dense',4.0);
CREATE TABLE measures (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (cell, name)
);
INSERT INTO "measures" VALUES('return_greedy-Dense-0','return_greedy',500.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-0','return_sampled',490.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-0','return_train',480.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-0','sparsity_weights',0.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-0','wall_seconds',1.5);
INSERT INTO "measures" VALUES('return_greedy-Dense-0','macs',33410.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-0','energy_cpu_joules',3.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-1','return_greedy',480.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-1','return_sampled',470.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-1','return_train',460.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-1','sparsity_weights',0.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-1','wall_seconds',1.5);
INSERT INTO "measures" VALUES('return_greedy-Dense-1','macs',33410.0);
INSERT INTO "measures" VALUES('return_greedy-Dense-1','energy_cpu_joules',3.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-0','return_greedy',300.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-0','return_sampled',290.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-0','return_train',280.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-0','sparsity_weights',0.9);
INSERT INTO "measures" VALUES('return_greedy-SNIP-0','wall_seconds',1.5);
INSERT INTO "measures" VALUES('return_greedy-SNIP-0','macs',33410.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-0','energy_cpu_joules',3.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-1','return_greedy',350.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-1','return_sampled',340.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-1','return_train',330.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-1','sparsity_weights',0.9);
INSERT INTO "measures" VALUES('return_greedy-SNIP-1','wall_seconds',1.5);
INSERT INTO "measures" VALUES('return_greedy-SNIP-1','macs',33410.0);
INSERT INTO "measures" VALUES('return_greedy-SNIP-1','energy_cpu_joules',3.0);
INSERT INTO "measures" VALUES('rmse-Dense-0','rmse',0.5);
INSERT INTO "measures" VALUES('rmse-Dense-0','rel',0.125);
INSERT INTO "measures" VALUES('rmse-Dense-0','delta1',0.5);
INSERT INTO "measures" VALUES('rmse-Dense-0','sparsity_weights',0.0);
INSERT INTO "measures" VALUES('rmse-CroP-S-0','rmse',0.75);
INSERT INTO "measures" VALUES('rmse-CroP-S-0','rel',0.1875);
INSERT INTO "measures" VALUES('rmse-CroP-S-0','delta1',0.5);
INSERT INTO "measures" VALUES('rmse-CroP-S-0','sparsity_weights',0.9);
PRAGMA user_version = 1;
